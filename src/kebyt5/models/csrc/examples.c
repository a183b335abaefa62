/* Training examples: the choice of chunks, the drawing of spans, and the ids of both; see
 * examples.py, randomness.py and spans.py of kebyt5.pretraining, which compute the same numbers. */
#include <stdint.h>
#include <string.h>

enum { PAD = 0, EOS = 1, OFFSET = 3, FIRST_SENTINEL = 258, IGNORED = -100, MAX_SPANS = 11 };

static const uint64_t GOLDEN = 0x9E3779B97F4A7C15u;

static uint64_t mix(uint64_t value) {
    value += GOLDEN;
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9u;
    value = (value ^ (value >> 27)) * 0x94D049BB133111EBu;
    return value ^ (value >> 31);
}

void permute(const uint64_t* indices, const uint64_t* sizes, const uint64_t* keys,
             const uint64_t* rows, const uint64_t* columns, uint64_t* out, int64_t count,
             int64_t threads) {
    (void)threads; /* a call ends before other threads would have started */
    for (int64_t i = 0; i < count; i++) {
        uint64_t at = indices[i];
        do {
            uint64_t x = at / columns[i], y = at % columns[i], key = keys[i];
            for (int round = 0; round < 2; round++) {
                x = (x + mix((key = mix(key)) ^ y) % rows[i]) % rows[i];
                y = (y + mix((key = mix(key)) ^ x) % columns[i]) % columns[i];
            }
            at = x * columns[i] + y;
        } while (at >= sizes[i]);
        out[i] = at;
    }
}

/* Copies texts from anywhere in memory to the beginnings of rows (count, width). */
void read_chunks(const uint8_t* const* texts, const int64_t* sizes, uint8_t* rows, int64_t count,
                 int64_t width, int64_t threads) {
    (void)threads;
    for (int64_t i = 0; i < count; i++) memcpy(rows + i * width, texts[i], sizes[i]);
}

/* Divides a total into parts, followed by zeros, by a key's random numbers from `first` on. */
static void divide(int64_t total, int64_t parts, uint64_t key, int first, int64_t* lengths) {
    int64_t cuts[MAX_SPANS];
    for (int64_t i = 1; i < parts; i++) {
        const int64_t last = total - parts + i;
        const double number = (mix(key + (first + i) * GOLDEN) >> 11) * 0x1p-53;
        int64_t cut = 1 + (int64_t)(number * last), place = i - 1;
        for (int64_t j = 0; j < i - 1; j++)
            if (cuts[j] == cut) cut = last;
        for (; place > 0 && cuts[place - 1] > cut; place--) cuts[place] = cuts[place - 1];
        cuts[place] = cut;
    }
    if (parts > 0) cuts[parts - 1] = total;
    for (int64_t i = 0, before = 0; i < MAX_SPANS; i++) {
        lengths[i] = i < parts ? cuts[i] - before : 0;
        before += lengths[i];
    }
}

/* Draws counts[i] spans (count, MAX_SPANS) that mask noise[i] of sizes[i] units. */
void draw_spans(const int64_t* noise, const int64_t* sizes, const int64_t* counts,
                const uint64_t* keys, int64_t* starts, int64_t* ends, int64_t count,
                int64_t threads) {
    (void)threads;
    for (int64_t row = 0; row < count; row++, starts += MAX_SPANS, ends += MAX_SPANS) {
        int64_t masked[MAX_SPANS], kept[MAX_SPANS];
        divide(noise[row], counts[row], keys[row], 0, masked);
        divide(sizes[row] - noise[row], counts[row], keys[row], MAX_SPANS - 1, kept);
        for (int64_t i = 0, at = 0; i < MAX_SPANS; i++) {
            starts[i] = at + kept[i];
            ends[i] = at = starts[i] + masked[i];
        }
    }
}

static int64_t* write_bytes(const uint8_t* restrict first, const uint8_t* last,
                            int64_t* restrict ids) {
    const int64_t size = last - first;
    for (int64_t i = 0; i < size; i++) ids[i] = first[i] + OFFSET;
    return ids + size;
}

static void finish(int64_t* ids, const int64_t* end, int64_t pad) {
    *ids++ = EOS;
    while (ids < end) *ids++ = pad;
}

/* Writes the ids of texts, which begin at begins[i] of rows (count, width), with counts[i] of their
 * spans (count, MAX_SPANS) masked. The widths of inputs and labels have room for all ids. */
void mask_spans(const uint8_t* rows, const int64_t* begins, const int64_t* sizes,
                const int64_t* starts, const int64_t* ends, const int64_t* counts, int64_t* inputs,
                int64_t* labels, int64_t count, int64_t width, int64_t input_width,
                int64_t target_width, int64_t threads) {
    (void)threads;
    for (int64_t row = 0; row < count; row++, starts += MAX_SPANS, ends += MAX_SPANS) {
        const uint8_t *text = rows + row * width + begins[row], *rest = text;
        const uint8_t* end = text + sizes[row];
        int64_t *input = inputs + row * input_width, *label = labels + row * target_width;
        const int64_t *input_end = input + input_width, *label_end = label + target_width;
        for (int64_t span = 0; span < counts[row]; span++) {
            input = write_bytes(rest, text + starts[span], input);
            *input++ = *label++ = FIRST_SENTINEL - span;
            rest = text + ends[span];
            label = write_bytes(text + starts[span], rest, label);
        }
        input = write_bytes(rest, end, input);
        if (counts[row] == 0) label = write_bytes(text, end, label);
        finish(input, input_end, PAD);
        finish(label, label_end, IGNORED);
    }
}
