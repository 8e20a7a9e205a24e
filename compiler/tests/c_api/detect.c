/* Looks at a picture with the model `shapes`, from a file and from pixels, and tries every function on wrong use too.
 * Arguments: image file, raw RGB pixels, width, height, stride. Prints a line per object. */
#include "shapes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPECT(condition)                                                              \
    do {                                                                               \
        if (!(condition)) {                                                            \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, shapes_last_error(model)); \
            exit(1);                                                                   \
        }                                                                              \
    } while (0)

static unsigned char *read_file(const char *path, size_t *length) {
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(1);
    }
    fseek(file, 0, SEEK_END);
    *length = (size_t)ftell(file);
    rewind(file);
    unsigned char *bytes = malloc(*length);
    if (!bytes || fread(bytes, 1, *length, file) != *length) {
        perror(path);
        exit(1);
    }
    fclose(file);
    return bytes;
}

static void print(const char *how, const shapes_model *model, const shapes_found *found) {
    for (size_t i = 0; i < found->count; i++) {
        const float *box = found->boxes[i];
        printf("%s %.9g %.9g %.9g %.9g %.9g %u %s\n", how, box[0], box[1], box[2], box[3], found->scores[i],
            found->class_ids[i], shapes_class_name(model, found->class_ids[i]));
    }
}

static void wrong_use(shapes_model *model, const shapes_image *image) {
    shapes_found found;
    shapes_params params;
    shapes_default_params(&params);
    EXPECT(params.conf_thres == 0.25f && params.iou_thres == 0.45f && params.max_det == 1000 && !params.classes);
    params.conf_thres = 1.5f;
    EXPECT(shapes_detect(model, image, 1, &params, &found) == SHAPES_ERROR_PARAM);
    EXPECT(strstr(shapes_last_error(model), "conf_thres is 1.5"));
    shapes_default_params(&params);
    const uint32_t classes[] = {0, 6};
    params.classes = classes;
    params.class_count = 2;
    EXPECT(shapes_detect(model, image, 1, &params, &found) == SHAPES_ERROR_PARAM);
    EXPECT(strstr(shapes_last_error(model), "classes is 6"));

    shapes_image senseless = *image;
    senseless.stride = 1;
    EXPECT(shapes_detect(model, &senseless, 1, NULL, &found) == SHAPES_ERROR_IMAGE);
    senseless.stride = SIZE_MAX;
    EXPECT(shapes_detect(model, &senseless, 1, NULL, &found) == SHAPES_ERROR_IMAGE);
    senseless.pixels = NULL;
    EXPECT(shapes_detect(model, &senseless, 1, NULL, &found) == SHAPES_ERROR_ARGUMENT);
    EXPECT(shapes_detect(model, NULL, 1, NULL, &found) == SHAPES_ERROR_ARGUMENT);
    EXPECT(shapes_detect(model, NULL, 0, NULL, NULL) == SHAPES_OK);
    EXPECT(shapes_detect_file(model, (const uint8_t *)"no image", 8, NULL, &found) == SHAPES_ERROR_IMAGE);
    EXPECT(strstr(shapes_last_error(model), "not an image in a known format"));

    EXPECT(shapes_run(model, NULL, 0, NULL, 0) == SHAPES_ERROR_TENSOR);
    EXPECT(strstr(shapes_last_error(model), "the model has 1 inputs, the call passes 0"));
    float few[8] = {0};
    shapes_const_buffer input = {few, sizeof few};
    shapes_buffer output = {few, sizeof few};
    EXPECT(shapes_run(model, &input, 1, &output, 1) == SHAPES_ERROR_TENSOR);
    EXPECT(strstr(shapes_last_error(model), "`images`"));
    input.data = (const char *)few + 1;
    EXPECT(shapes_run(model, &input, 1, &output, 1) == SHAPES_ERROR_ARGUMENT);
    EXPECT(shapes_detect(NULL, image, 1, NULL, &found) == SHAPES_ERROR_ARGUMENT);
    EXPECT(shapes_last_error(NULL) == NULL && shapes_class_count(NULL) == 0 && shapes_input_count(NULL) == 0);
    EXPECT(shapes_class_name(model, 6) == NULL);
    shapes_free(NULL);
}

static void tensors(shapes_model *model) {
    shapes_tensor_info in, out;
    EXPECT(shapes_input_count(model) == 1 && shapes_output_count(model) == 1);
    EXPECT(shapes_input(model, 0, &in) == SHAPES_OK && shapes_output(model, 0, &out) == SHAPES_OK);
    EXPECT(shapes_input(model, 1, &in) == SHAPES_ERROR_ARGUMENT);
    EXPECT(!strcmp(in.name, "images") && in.dtype == SHAPES_F32 && in.rank == 4 && in.shape[2] == 320);
    EXPECT(!strcmp(out.name, "output0") && out.rank == 3 && out.shape[1] == 6300 && out.shape[2] == 11);
    EXPECT(in.bytes == in.elements * 4 && out.elements == 6300 * 11);
    void *pixels = calloc(2, in.bytes), *rows = calloc(2, out.bytes);
    shapes_const_buffer input = {pixels, 2 * in.bytes};
    shapes_buffer output = {rows, 2 * out.bytes};
    EXPECT(shapes_run(model, &input, 1, &output, 1) == SHAPES_OK);
    EXPECT(!memcmp(rows, (char *)rows + out.bytes, out.bytes) && ((float *)rows)[4] >= 0);
    free(pixels);
    free(rows);
}

int main(int count, char **arguments) {
    if (count != 6) return 2;
    shapes_model *model = NULL;
    char error[200] = "";
    EXPECT(shapes_abi_version() == SHAPES_ABI_VERSION);
    EXPECT(shapes_create(1u << 30, 0, &model, error, 24) == SHAPES_ERROR_RESOURCES && !model);
    EXPECT(strlen(error) == 23 && strstr(error, "model `shapes`"));
    EXPECT(shapes_create(1, 0, NULL, NULL, 0) == SHAPES_ERROR_ARGUMENT);
    if (shapes_create(2, 0, &model, error, sizeof error) != SHAPES_OK) {
        fprintf(stderr, "%s\n", error);
        return 1;
    }
    shapes_model_info info;
    EXPECT(shapes_info(model, &info) == SHAPES_OK && info.detector == 1 && info.input_width == 320);
    EXPECT(!strcmp(info.source, "shapes.onnx") && strlen(info.sha256) == 64 && !strcmp(info.name, "shapes"));
    EXPECT(shapes_class_count(model) == 6);

    size_t length, bytes;
    unsigned char *file = read_file(arguments[1], &length), *pixels = read_file(arguments[2], &bytes);
    shapes_image image = {pixels, strtoul(arguments[3], NULL, 10), strtoul(arguments[4], NULL, 10),
        strtoul(arguments[5], NULL, 10)};
    wrong_use(model, &image);
    tensors(model);

    shapes_found found[3];
    EXPECT(shapes_detect_file(model, file, length, NULL, &found[0]) == SHAPES_OK);
    EXPECT(!*shapes_last_error(model));
    print("file", model, &found[0]);
    const shapes_image twice[] = {image, image, image};
    EXPECT(shapes_detect(model, twice, 3, NULL, found) == SHAPES_OK);
    EXPECT(found[0].count == found[2].count);
    print("pixels", model, &found[2]);

    /* What is found belongs to the handle; pixels are not needed any more. */
    free(file);
    free(pixels);
    print("kept", model, &found[1]);
    shapes_free(model);
    return 0;
}
