// Two models in one C++ program, each on a thread of its own: `shapes`, and `pair`, the same narrowed to its classes
// `cube` and `star`. What `pair` computes is `shapes` without the columns of the other classes, to the bit.
#include "pair.h"
#include "shapes.h"

#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

std::vector<float> picture(size_t elements) {
    std::vector<float> values(elements);
    unsigned state = 1;
    for (float &value : values) {
        state = state * 1103515245u + 12345u;
        value = static_cast<float>(state >> 16 & 255) / 255.0f;
    }
    return values;
}

template <typename Model, typename Info, typename Input, typename Output>
std::vector<float> run(Model *model, int32_t (*input)(const Model *, size_t, Info *),
    int32_t (*output)(const Model *, size_t, Info *),
    int32_t (*act)(Model *, const Input *, size_t, const Output *, size_t)) {
    Info in, out;
    if (input(model, 0, &in) || output(model, 0, &out)) return {};
    std::vector<float> pixels = picture(in.elements), rows(out.elements);
    const Input from = {pixels.data(), in.bytes};
    const Output to = {rows.data(), out.bytes};
    if (act(model, &from, 1, &to, 1)) return {};
    return rows;
}

} // namespace

int main(int, char **arguments) {
    char error[200];
    shapes_model *all_handle = nullptr;
    pair_model *two_handle = nullptr;
    if (shapes_create(1, 0, &all_handle, error, sizeof error) || pair_create(1, 0, &two_handle, error, sizeof error)) {
        std::fprintf(stderr, "%s\n", error);
        return 1;
    }
    std::unique_ptr<shapes_model, void (*)(shapes_model *)> all(all_handle, shapes_free);
    std::unique_ptr<pair_model, void (*)(pair_model *)> two(two_handle, pair_free);

    std::vector<float> whole, narrow;
    std::thread first([&] { whole = run(all.get(), shapes_input, shapes_output, shapes_run); });
    std::thread second([&] { narrow = run(two.get(), pair_input, pair_output, pair_run); });
    first.join();
    second.join();
    if (whole.size() != 6300 * 11 || narrow.size() != 6300 * 7) {
        std::fprintf(stderr, "%s%s\n", shapes_last_error(all.get()), pair_last_error(two.get()));
        return 1;
    }
    for (size_t row = 0; row < 6300; row++) {
        const float *from = &whole[row * 11], *to = &narrow[row * 7];
        if (std::memcmp(from, to, 5 * sizeof *from) || std::memcmp(from + 6, to + 5, 2 * sizeof *from)) {
            std::fprintf(stderr, "row %zu differs\n", row);
            return 1;
        }
    }

    std::ifstream stream(arguments[1], std::ios::binary);
    const std::string file((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
    const uint8_t *bytes = reinterpret_cast<const uint8_t *>(file.data());
    shapes_found found;
    pair_found fewer;
    if (shapes_detect_file(all.get(), bytes, file.size(), nullptr, &found)
        || pair_detect_file(two.get(), bytes, file.size(), nullptr, &fewer)) {
        std::fprintf(stderr, "%s%s\n", shapes_last_error(all.get()), pair_last_error(two.get()));
        return 1;
    }
    for (size_t i = 0; i < found.count; i++)
        std::printf("all %.9g %.9g %.9g %.9g %.9g %u %s\n", found.boxes[i][0], found.boxes[i][1], found.boxes[i][2],
            found.boxes[i][3], found.scores[i], found.class_ids[i], shapes_class_name(all.get(), found.class_ids[i]));
    for (size_t i = 0; i < fewer.count; i++)
        std::printf("two %.9g %.9g %.9g %.9g %.9g %u %s\n", fewer.boxes[i][0], fewer.boxes[i][1], fewer.boxes[i][2],
            fewer.boxes[i][3], fewer.scores[i], fewer.class_ids[i], pair_class_name(two.get(), fewer.class_ids[i]));
    return 0;
}
