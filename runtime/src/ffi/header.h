/* The model `@name@`, compiled by peristyle into this library.
 *
 * Link with `cc program.c lib@name@.a -lm -lpthread -ldl`, or with the shared library. Every name starts with the
 * model's, so that several models link into one program.
 *
 * Threads: calls on one handle must not overlap. A handle may move from thread to thread, and any number of handles may
 * work at once; each has its own threads and working memory. There is no global state.
 *
 * Errors: functions that return `int32_t` return 0 when all went well and a code of `@name@_status` otherwise;
 * `@name@_last_error` then names the thing. No call ends the process, and nothing is thrown.
 *
 * Pointers that a call hands out belong to the handle. What a detection found lives until the next detection on the
 * handle, the message of an error until the next call, everything else until `@name@_free`. */
#ifndef PERISTYLE_@NAME@_H
#define PERISTYLE_@NAME@_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Of this header. A library of another version must not be called further than `@name@_abi_version`. */
#define @NAME@_ABI_VERSION 1u

/* A model with its threads and working memory. */
typedef struct @name@_model @name@_model;

enum @name@_status {
    @NAME@_OK = 0,
    @NAME@_ERROR_ARGUMENT = 1,       /* a pointer is null, an index too large, or a buffer misaligned */
    @NAME@_ERROR_PARAM = 2,          /* a threshold or class is out of range */
    @NAME@_ERROR_IMAGE = 3,          /* a picture has no pixels, or an image file cannot be read */
    @NAME@_ERROR_NOT_A_DETECTOR = 4, /* the model has no detection head: use its tensors */
    @NAME@_ERROR_TENSOR = 5,         /* number or sizes of tensors do not fit the model */
    @NAME@_ERROR_RESOURCES = 6,      /* the operating system refuses threads or memory */
    @NAME@_ERROR_UNSUPPORTED = 7,    /* the library was built without image files */
    @NAME@_ERROR_INTERNAL = 8        /* a defect of the library: the handle can only be freed */
};

enum @name@_dtype {
    @NAME@_F32 = 1, /* 32-bit floats */
    @NAME@_U8 = 2   /* unsigned bytes */
};

/* Where the model comes from. */
typedef struct {
    const char *name;
    const char *source;   /* file name of the source model */
    const char *sha256;   /* of the source model, hexadecimal */
    const char *compiler; /* version of peristyle */
    int32_t detector;     /* 1 when pictures can be looked at */
    uint32_t input_width, input_height; /* pixels of the network input; 0 when the model is no detector */
} @name@_model_info;

/* An input or output. The shape is that of one image: axis 0 counts images and is 1. */
typedef struct {
    const char *name;
    int32_t dtype; /* of `@name@_dtype` */
    uint32_t rank;
    const size_t *shape;
    size_t elements, bytes; /* of one image */
} @name@_tensor_info;

/* Memory of a tensor: row-major, one or more images behind each other, floats aligned to 4 bytes. */
typedef struct {
    const void *data;
    size_t bytes;
} @name@_const_buffer;

typedef struct {
    void *data;
    size_t bytes;
} @name@_buffer;

/* An RGB picture: 8 bits per channel, interleaved, rows from the top. */
typedef struct {
    const uint8_t *pixels;
    size_t width, height;
    size_t stride; /* bytes from one row to the next; 0 for 3 * width */
} @name@_image;

typedef struct {
    float conf_thres;  /* least score, exclusive, 0 to 1; 0.25 by default */
    float iou_thres;   /* greatest intersection over union of two boxes of a class, 0 to 1; 0.45 by default */
    uint32_t max_det;  /* boxes per picture; 1000 by default */
    int32_t agnostic;    /* not 0: boxes suppress boxes of other classes */
    int32_t multi_label; /* not 0: one box may be reported for several classes */
    int32_t stretch;     /* not 0: pictures are stretched over the network input, not letterboxed */
    const uint32_t *classes; /* classes to report; NULL for all */
    size_t class_count;
} @name@_params;

/* The objects in one picture, best score first. */
typedef struct {
    size_t count;
    const float (*boxes)[4]; /* left, top, right, bottom in pixels of the picture, inside it */
    const float *scores;
    const uint32_t *class_ids;
} @name@_found;

/* Version of the interface that the library has; compare it with @NAME@_ABI_VERSION. */
uint32_t @name@_abi_version(void);

/* Makes a handle. `threads`: 0 for as many as this process may use. `batch`: pictures per run of the network, 0 for what
 * the model was compiled for. On an error `*model` is NULL, and the message is in `error`, cut to `capacity` bytes with its
 * NUL; `error` may be NULL. */
int32_t @name@_create(uint32_t threads, uint32_t batch, @name@_model **model, char *error, size_t capacity);

/* Ends a handle's threads and returns its memory. NULL is allowed. */
void @name@_free(@name@_model *model);

/* What went wrong in the last call that runs or detects; empty when nothing did. */
const char *@name@_last_error(const @name@_model *model);

int32_t @name@_info(const @name@_model *model, @name@_model_info *info);

/* Number of classes, 0 when the model is no detector; and the name of one, NULL when it has none. */
size_t @name@_class_count(const @name@_model *model);
const char *@name@_class_name(const @name@_model *model, size_t class_id);

size_t @name@_input_count(const @name@_model *model);
size_t @name@_output_count(const @name@_model *model);
int32_t @name@_input(const @name@_model *model, size_t index, @name@_tensor_info *info);
int32_t @name@_output(const @name@_model *model, size_t index, @name@_tensor_info *info);

/* Runs the network on tensors: as many images as the first input holds, one buffer per input and output, in their order.
 * No output may overlap another buffer. Nothing is computed when a size does not fit. */
int32_t @name@_run(@name@_model *model, const @name@_const_buffer *inputs, size_t input_count,
    const @name@_buffer *outputs, size_t output_count);

/* Fills in the defaults. */
void @name@_default_params(@name@_params *params);

/* Finds the objects in each of `count` pictures and fills in as many results. `params` may be NULL for the defaults. */
int32_t @name@_detect(@name@_model *model, const @name@_image *images, size_t count, const @name@_params *params,
    @name@_found *found);

/* The same for one image file in memory: JPEG, PNG, WebP, BMP, TIFF or the first picture of a GIF, turned as its EXIF
 * says. */
int32_t @name@_detect_file(@name@_model *model, const uint8_t *bytes, size_t length, const @name@_params *params,
    @name@_found *found);

#ifdef __cplusplus
}
#endif

#endif
