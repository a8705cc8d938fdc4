/* x / 2^n for n = 1..31, halves rounded up; the sum x + 2^(n-1), which could overflow, is never formed. */
static inline int32_t rshift32(int32_t x, int n)
{
    return (x >> n) + ((x >> (n - 1)) & 1);
}

/* The same in 64 bits, n = 1..62. */
static inline int64_t rshift64(int64_t x, int n)
{
    return (x >> n) + ((x >> (n - 1)) & 1);
}

static inline int32_t min32(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static inline int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int32_t max32(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

static inline int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static inline int32_t clamp32(int32_t x, int32_t low, int32_t high)
{
    return x < low ? low : x > high ? high : x;
}

static inline int64_t clamp64(int64_t x, int64_t low, int64_t high)
{
    return x < low ? low : x > high ? high : x;
}

/* A window that slides over a source of (height, width, channels). */
typedef struct {
    int channels, height, width;
    int kernel_y, kernel_x, stride_y, stride_x, padding_y, padding_x, dilation_y, dilation_x;
} window;

/* Weight number i of an array of signed bytes. */
static inline int32_t weight8(const int8_t *weights, size_t i)
{
    return weights[i];
}

/* Weight number i of an array with two 4-bit weights in a byte, the first in the low half, in two's complement. */
static inline int32_t weight4(const uint8_t *weights, size_t i)
{
    return (((weights[i / 2] >> (i % 2 * 4)) & 15) ^ 8) - 8;
}

/* Weight number i of an array with four ternary weights in a byte, each + 1 in two bits, the first in the lowest. */
static inline int32_t weight2(const uint8_t *weights, size_t i)
{
    return ((weights[i / 4] >> (i % 4 * 2)) & 3) - 1;
}

/* Weight number i of an array with eight weights -1 or +1 in a byte, a set bit for +1, the first in the lowest. */
static inline int32_t weight1(const uint8_t *weights, size_t i)
{
    return ((weights[i / 8] >> (i % 8)) & 1) * 2 - 1;
}

/* acc[o] = sum over i, u, v of w[o, i, u, v] * in[g(o) + i, y, x of tap (u, v)] at one position, for all outputs of all
 * groups. Weights in the order (tap, input, output of its group); messages that are 0 are skipped. */
static inline void conv2d_SUFFIX_BITS(const window *w, int outputs, int groups, const MESSAGE *in, const WEIGHT *weights,
                                      int y, int x, int32_t *restrict acc)
{
    const int each = outputs / groups, reads = w->channels / groups;
    for (int o = 0; o < outputs; ++o)
        acc[o] = 0;
    for (int u = 0; u < w->kernel_y; ++u) {
        const int row = y * w->stride_y + u * w->dilation_y - w->padding_y;
        if (row < 0 || row >= w->height)
            continue;
        for (int v = 0; v < w->kernel_x; ++v) {
            const int column = x * w->stride_x + v * w->dilation_x - w->padding_x;
            if (column < 0 || column >= w->width)
                continue;
            const MESSAGE *at = in + ((size_t)row * (size_t)w->width + (size_t)column) * (size_t)w->channels;
            const size_t tap = (size_t)(u * w->kernel_x + v) * (size_t)w->channels;
            for (int i = 0; i < w->channels; ++i) {
                const int32_t message = at[i];
                if (message == 0)
                    continue;
                const size_t first = (tap + (size_t)i) * (size_t)each;
                int32_t *restrict sums = acc + i / reads * each;
                for (int o = 0; o < each; ++o)
                    sums[o] += message * weightBITS(weights, first + (size_t)o);
            }
        }
    }
}

/* acc[o] = sum over i of w[o, i] * in[i]. Weights in the order (input, output); messages that are 0 are skipped. */
static inline void linear_SUFFIX_BITS(int inputs, int outputs, const MESSAGE *in, const WEIGHT *weights,
                                      int32_t *restrict acc)
{
    for (int o = 0; o < outputs; ++o)
        acc[o] = 0;
    for (int i = 0; i < inputs; ++i) {
        const int32_t message = in[i];
        if (message == 0)
            continue;
        const size_t first = (size_t)i * (size_t)outputs;
        for (int o = 0; o < outputs; ++o)
            acc[o] += message * weightBITS(weights, first + (size_t)o);
    }
}

/* Adds value times the codes of one row of `row` bytes to acc[0 .. outputs - 1]. A byte of a row holds the weights, as
 * codes that are not negative (-1, 0, 1 as 0, 1, 2 in two bits; -1, 1 as 0, 1 in one bit; -8..7 as 0..15 in four), of
 * outputs that are `row` apart. */
static inline void add_row_BITS(int row, const uint8_t *restrict codes, int32_t value, int32_t *restrict acc)
{
    for (int k = 0; k < 8 / BITS; ++k)
        for (int j = 0; j < row; ++j)
            acc[k * row + j] += value * (codes[j] >> (k * BITS) & ((1 << BITS) - 1));
}

/* Turns sums of codes into sums of weights: a code is the weight + 1, for one bit half of that, for four bits the
 * weight + 8; total is the sum of what they were multiplied with. */
static inline void finish_rows_BITS(int row, int32_t total, int32_t *restrict acc)
{
    for (int o = 0; o < row * (8 / BITS); ++o)
        acc[o] = (BITS == 1 ? 2 * acc[o] : acc[o]) - (BITS == 4 ? 8 * total : total);
}

/* acc[o] = sum over i, u, v of w[o, i, u, v] * in[i, y, x of tap (u, v)] at one position, a row of weights for each tap
 * and input; messages that are 0 are skipped. */
static inline void conv2d_rows_SUFFIX_BITS(const window *w, int row, const MESSAGE *in, const uint8_t *weights, int y,
                                           int x, int32_t *acc)
{
    int32_t total = 0;
    for (int o = 0; o < row * (8 / BITS); ++o)
        acc[o] = 0;
    for (int u = 0; u < w->kernel_y; ++u) {
        const int source = y * w->stride_y + u * w->dilation_y - w->padding_y;
        if (source < 0 || source >= w->height)
            continue;
        for (int v = 0; v < w->kernel_x; ++v) {
            const int column = x * w->stride_x + v * w->dilation_x - w->padding_x;
            if (column < 0 || column >= w->width)
                continue;
            const MESSAGE *at = in + ((size_t)source * (size_t)w->width + (size_t)column) * (size_t)w->channels;
            const size_t tap = (size_t)(u * w->kernel_x + v) * (size_t)w->channels;
            for (int i = 0; i < w->channels; ++i) {
                total += at[i];
                if (at[i] != 0)
                    add_row_BITS(row, weights + (tap + (size_t)i) * (size_t)row, at[i], acc);
            }
        }
    }
    finish_rows_BITS(row, total, acc);
}

/* acc[o] = sum over i of w[o, i] * in[i], a row of weights for each input; messages that are 0 are skipped. */
static inline void linear_rows_SUFFIX_BITS(int inputs, int row, const MESSAGE *in, const uint8_t *weights, int32_t *acc)
{
    int32_t total = 0;
    for (int o = 0; o < row * (8 / BITS); ++o)
        acc[o] = 0;
    for (int i = 0; i < inputs; ++i) {
        total += in[i];
        if (in[i] != 0)
            add_row_BITS(row, weights + (size_t)i * (size_t)row, in[i], acc);
    }
    finish_rows_BITS(row, total, acc);
}

/* acc[c] = sum over j of w[j] * in[c + j - padding], j = 0 .. 2 * padding. */
static inline void channel_conv_SUFFIX_BITS(int channels, int padding, const MESSAGE *in, const WEIGHT *weights,
                                            int32_t *restrict acc)
{
    for (int c = 0; c < channels; ++c) {
        acc[c] = 0;
        for (int j = 0; j <= 2 * padding; ++j) {
            const int from = c + j - padding;
            if (from >= 0 && from < channels)
                acc[c] += (int32_t)in[from] * weightBITS(weights, (size_t)j);
        }
    }
}

/* acc[c] = sum of the window's messages at one position. */
static inline void sum_pool_SUFFIX(const window *w, const MESSAGE *in, int y, int x, int32_t *restrict acc)
{
    for (int c = 0; c < w->channels; ++c)
        acc[c] = 0;
    for (int u = 0; u < w->kernel_y; ++u) {
        const int row = y * w->stride_y + u - w->padding_y;
        if (row < 0 || row >= w->height)
            continue;
        for (int v = 0; v < w->kernel_x; ++v) {
            const int column = x * w->stride_x + v - w->padding_x;
            if (column < 0 || column >= w->width)
                continue;
            const MESSAGE *at = in + ((size_t)row * (size_t)w->width + (size_t)column) * (size_t)w->channels;
            for (int c = 0; c < w->channels; ++c)
                acc[c] += at[c];
        }
    }
}

/* acc[c] = the largest of the window's messages at one position; padding never wins. */
static inline void max_pool_SUFFIX(const window *w, const MESSAGE *in, int y, int x, int32_t *restrict acc)
{
    for (int c = 0; c < w->channels; ++c)
        acc[c] = INT32_MIN;
    for (int u = 0; u < w->kernel_y; ++u) {
        const int row = y * w->stride_y + u - w->padding_y;
        if (row < 0 || row >= w->height)
            continue;
        for (int v = 0; v < w->kernel_x; ++v) {
            const int column = x * w->stride_x + v - w->padding_x;
            if (column < 0 || column >= w->width)
                continue;
            const MESSAGE *at = in + ((size_t)row * (size_t)w->width + (size_t)column) * (size_t)w->channels;
            for (int c = 0; c < w->channels; ++c)
                acc[c] = at[c] > acc[c] ? at[c] : acc[c];
        }
    }
}

/* Adding up by events.
 *
 * An event is a message that is not 0: its value in bits 0..7, and above them the offset of the weights of its source,
 * one row of `row` bytes as above. Four bytes at a time, a value times the masked bytes gives four products in one
 * multiplication. No sum of EVENTS_AT_ONCE of them leaves its byte, because no event is worth more than EVENT_LIMIT. */
#define EVENTS_AT_ONCE 8
#define EVENT_LIMIT 15
#define EVENTS_COPIED 4  /* at a time: lists have room for EVENTS_COPIED - 1 more, which mean nothing */

/* Adds the codes of `count` events, times their values, to acc[0 .. outputs - 1]; list has room up to a multiple of
 * EVENTS_AT_ONCE, and `count` times EVENT_LIMIT times the largest code is below 2^16.
 * For vectors: along the row, in loops that compilers turn into them. */
#if MODEL_VECTORS
static inline void add_event_rows_BITS(int row, const uint8_t *restrict weights, uint32_t *restrict list, int count,
                                       int32_t *restrict acc)
{
    enum { outputs_per_byte = 8 / BITS };
    uint16_t even[outputs_per_byte][MODEL_WIDEST_ROW / 2], odd[outputs_per_byte][MODEL_WIDEST_ROW / 2];
    const uint16_t mask = BITS == 1 ? 0x0101 : 0x0303;
    const int pairs = row / 2;
    while (count % EVENTS_AT_ONCE)
        list[count++] = 0;
    for (int k = 0; k < outputs_per_byte; ++k)
        for (int j = 0; j < pairs; ++j)
            even[k][j] = odd[k][j] = 0;
    for (int i = 0; i < count; i += EVENTS_AT_ONCE) {
        uint16_t value[EVENTS_AT_ONCE];
        const uint8_t *from[EVENTS_AT_ONCE];
        for (int e = 0; e < EVENTS_AT_ONCE; ++e) {
            value[e] = (uint16_t)(list[i + e] & 255);
            from[e] = weights + (list[i + e] >> 8);
        }
        for (int k = 0; k < outputs_per_byte; ++k)
            for (int j = 0; j < pairs; ++j) {
                uint16_t sum = 0;
                for (int e = 0; e < EVENTS_AT_ONCE; ++e) {
                    uint16_t codes;
                    memcpy(&codes, from[e] + 2 * j, sizeof codes);
                    sum = (uint16_t)(sum + value[e] * ((codes >> (k * BITS)) & mask));
                }
                even[k][j] = (uint16_t)(even[k][j] + (sum & 255));
                odd[k][j] = (uint16_t)(odd[k][j] + (sum >> 8));
            }
    }
    for (int k = 0; k < outputs_per_byte; ++k)
        for (int j = 0; j < pairs; ++j) {
            acc[k * row + 2 * j] += even[k][j];
            acc[k * row + 2 * j + 1] += odd[k][j];
        }
}
#endif

/* The same for eight bytes of a row at a time, in vectors of all their planes: along the events. */
#if MODEL_VECTORS && defined(__GNUC__)
static inline void add_event_lanes_BITS(int row, const uint8_t *restrict weights, const uint32_t *restrict list,
                                        int count, int32_t *restrict acc)
{
    const uint64_t ones = UINT64_C(0x0101010101010101) * ((1 << BITS) - 1);
    const lanes64 mask = {ones, ones, ones, ones};
    for (unsigned half = 0; half < 8; half += 4 * BITS) {
        const lanes64 shifts = {half, half + BITS, half + 2 * BITS, half + 3 * BITS};
        for (int byte = 0; byte < row; byte += 8) {
            lanes16 even = {0}, odd = {0};
            uint16_t evens[16], odds[16];
            for (int i = 0; i < count;) {
                const int stop = count - i > EVENTS_AT_ONCE ? i + EVENTS_AT_ONCE : count;
                lanes16 sum = {0};
                for (; i < stop; ++i) {
                    const uint16_t value = (uint16_t)(list[i] & 255);
                    uint64_t word;
                    memcpy(&word, weights + byte + (list[i] >> 8), sizeof word);
                    const lanes64 words = {word, word, word, word};
                    sum += (lanes16)(words >> shifts & mask) * value;
                }
                even += sum & 255;
                odd += sum >> 8;
            }
            memcpy(evens, &even, sizeof evens);
            memcpy(odds, &odd, sizeof odds);
            int32_t *out = acc + (int)half / BITS * row + byte;
            for (int k = 0; k < 4; ++k)
                for (int j = 0; j < 4; ++j) {
                    out[k * row + 2 * j] += evens[4 * k + j];
                    out[k * row + 2 * j + 1] += odds[4 * k + j];
                }
        }
    }
}
#endif

/* The same for Helium, ternary weights: sums of whole bytes, of bytes shifted by 2, 4 and 6; those of a plane are the
 * difference of two, and right to the last bit because they fit where they are added up. Returns the bytes of a row done. */
#if MODEL_HELIUM
static inline void add_strided(int32_t *to, uint32_t stride, uint32x4_t sums)
{
    const uint32x4_t at = vmulq_n_u32(vidupq_n_u32(0, 1), stride);
    const int32x4_t before = vldrwq_gather_shifted_offset_s32(to, at);
    vstrwq_scatter_shifted_offset_s32(to, at, vaddq_s32(before, vreinterpretq_s32_u32(sums)));
}

static inline int add_event_helium(int row, const uint8_t *restrict weights, const uint32_t *restrict list, int count,
                                   int32_t *restrict acc)
{
    int byte = 0;
    for (; byte + 16 <= row; byte += 16) {
        uint16x8_t even[4], odd[4];
        for (int k = 0; k < 4; ++k)
            even[k] = odd[k] = vdupq_n_u16(0);
        for (int i = 0; i < count;) {
            const int stop = count - i > EVENTS_AT_ONCE ? i + EVENTS_AT_ONCE : count;
            uint8x16_t sum[4];
            for (int k = 0; k < 4; ++k)
                sum[k] = vdupq_n_u8(0);
            for (; i < stop; ++i) {
                const uint8_t value = (uint8_t)list[i];
                const uint8x16_t codes = vldrbq_u8(weights + byte + (list[i] >> 8));
                sum[0] = vmlaq_n_u8(sum[0], codes, value);
                sum[1] = vmlaq_n_u8(sum[1], vshrq_n_u8(codes, 2), value);
                sum[2] = vmlaq_n_u8(sum[2], vshrq_n_u8(codes, 4), value);
                sum[3] = vmlaq_n_u8(sum[3], vshrq_n_u8(codes, 6), value);
            }
            for (int k = 0; k < 4; ++k) {
                if (k < 3)
                    sum[k] = vmlaq_n_u8(sum[k], sum[k + 1], 252);  /* - 4 */
                even[k] = vaddq_u16(even[k], vmovlbq_u8(sum[k]));
                odd[k] = vaddq_u16(odd[k], vmovltq_u8(sum[k]));
            }
        }
        for (int k = 0; k < 4; ++k) {
            int32_t *out = acc + k * row + byte;
            add_strided(out, 4, vmovlbq_u16(even[k]));
            add_strided(out + 1, 4, vmovlbq_u16(odd[k]));
            add_strided(out + 2, 4, vmovltq_u16(even[k]));
            add_strided(out + 3, 4, vmovltq_u16(odd[k]));
        }
    }
    for (; byte + 8 <= row; byte += 8) {
        uint16x8_t sum[4];
        for (int k = 0; k < 4; ++k)
            sum[k] = vdupq_n_u16(0);
        for (int i = 0; i < count; ++i) {
            const uint16_t value = (uint8_t)list[i];
            const uint16x8_t codes = vldrbq_u16(weights + byte + (list[i] >> 8));
            sum[0] = vmlaq_n_u16(sum[0], codes, value);
            sum[1] = vmlaq_n_u16(sum[1], vshrq_n_u16(codes, 2), value);
            sum[2] = vmlaq_n_u16(sum[2], vshrq_n_u16(codes, 4), value);
            sum[3] = vmlaq_n_u16(sum[3], vshrq_n_u16(codes, 6), value);
        }
        for (int k = 0; k < 4; ++k) {
            if (k < 3)
                sum[k] = vmlaq_n_u16(sum[k], sum[k + 1], 65532);  /* - 4 */
            add_strided(acc + k * row + byte, 2, vmovlbq_u16(sum[k]));
            add_strided(acc + k * row + byte + 1, 2, vmovltq_u16(sum[k]));
        }
    }
    return byte;
}
#endif

/* The same without vectors, from byte `first` of the rows: along the events, with the sums of 16 outputs in registers. */
static void add_event_words_BITS(int first, int row, const uint8_t *restrict weights,
                                 const uint32_t *restrict list, int count, int32_t *restrict acc)
{
    const uint32_t mask = BITS == 1 ? 0x01010101 : 0x03030303, halves = 0x00FF00FF;
    for (int half = 0; half < 8; half += 4 * BITS)
        for (int byte = first; byte < row; byte += 4) {
            const uint8_t *column = weights + byte;
            int32_t *out = acc + half / BITS * row + byte;
            uint32_t even0 = 0, even1 = 0, even2 = 0, even3 = 0, odd0 = 0, odd1 = 0, odd2 = 0, odd3 = 0;
            for (int i = 0; i < count;) {
                uint32_t sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
                const int stop = count - i > EVENTS_AT_ONCE ? i + EVENTS_AT_ONCE : count;
                for (; i < stop; ++i) {
                    const uint32_t value = list[i] & 255;
                    const uint8_t *at = column + (list[i] >> 8);
                    const uint32_t codes = ((uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16
                                            | (uint32_t)at[3] << 24) >> half;
                    sum0 += value * (codes & mask);
                    sum1 += value * (codes >> BITS & mask);
                    sum2 += value * (codes >> 2 * BITS & mask);
                    sum3 += value * (codes >> 3 * BITS & mask);
                }
                even0 += sum0 & halves, odd0 += sum0 >> 8 & halves;
                even1 += sum1 & halves, odd1 += sum1 >> 8 & halves;
                even2 += sum2 & halves, odd2 += sum2 >> 8 & halves;
                even3 += sum3 & halves, odd3 += sum3 >> 8 & halves;
            }
            const uint32_t evens[4] = {even0, even1, even2, even3}, odds[4] = {odd0, odd1, odd2, odd3};
            for (int k = 0; k < 4; ++k, out += row) {
                out[0] += (int32_t)(evens[k] & 0xFFFF);
                out[1] += (int32_t)(odds[k] & 0xFFFF);
                out[2] += (int32_t)(evens[k] >> 16);
                out[3] += (int32_t)(odds[k] >> 16);
            }
        }
}

/* The one or the other, by what the processor has. */
static inline void add_events_BITS(int row, const uint8_t *restrict weights, uint32_t *restrict list, int count,
                                   int32_t *restrict acc)
{
    int first = 0;
#if MODEL_VECTORS
    if (row % MODEL_VECTORS == 0) {
        add_event_rows_BITS(row, weights, list, count, acc);
        return;
    }
#ifdef __GNUC__
    if (row % 8 == 0) {
        add_event_lanes_BITS(row, weights, list, count, acc);
        return;
    }
#endif
#endif
#if MODEL_HELIUM
    if (BITS == 2)
        first = add_event_helium(row, weights, list, count, acc);
#endif
    add_event_words_BITS(first, row, weights, list, count, acc);
}

/* A list of events that is added up whenever it is full. */
typedef struct {
    uint32_t *list;
    int count, room;
    int32_t total;  /* of the values */
} events;

/* Adds events to the list, at an offset of their weights; a value above EVENT_LIMIT as several. */
static inline void take_events_BITS(events *taken, int row, const uint8_t *weights, uint32_t offset,
                                    const uint32_t *from, int count, int large, int32_t *acc)
{
    for (int i = 0; i < count;) {
        if (taken->count == taken->room) {
            add_events_BITS(row, weights, taken->list, taken->count, acc);
            taken->count = 0;
        }
        if (large) {
            uint32_t event = from[i++];
            for (; (event & 255) > EVENT_LIMIT; event -= EVENT_LIMIT) {
                taken->list[taken->count++] = ((event & ~UINT32_C(255)) | EVENT_LIMIT) + offset;
                if (taken->count == taken->room) {
                    add_events_BITS(row, weights, taken->list, taken->count, acc);
                    taken->count = 0;
                }
            }
            taken->list[taken->count++] = event + offset;
        } else {
            const int left = count - i, fits = taken->room - taken->count, n = left < fits ? left : fits;
            for (int e = 0; e < n; e += EVENTS_COPIED)
                for (int more = 0; more < EVENTS_COPIED; ++more)
                    taken->list[taken->count + e + more] = from[i + e + more] + offset;
            taken->count += n;
            i += n;
        }
    }
}

/* Lists the messages of some channels that are not 0; returns their number, adds them to *total. */
static inline int list_events_SUFFIX(const MESSAGE *in, int channels, uint32_t row, uint32_t first, uint32_t *list,
                                     int32_t *total)
{
    int count = 0;
    int32_t sum = 0;
    for (int i = 0; i < channels; ++i) {
        const uint32_t message = in[i];
        list[count] = (first + (uint32_t)i) * row << 8 | message;
        count += message != 0;
        sum += (int32_t)message;
    }
    *total += sum;
    return count;
}

/* The events of the source's rows that a convolution is at, by position: `count` of them from `list` on. */
typedef struct {
    uint32_t *list;
    uint16_t *count;
    int32_t *total;
    int next;  /* the first row that is not listed yet */
} event_rows;

/* Lists the events of the rows that output row y reads and that are not listed yet. */
static inline void advance_rows_SUFFIX(const window *w, const MESSAGE *in, int row, int y, event_rows *rows)
{
    const int span = w->dilation_y * (w->kernel_y - 1) + 1, first = y * w->stride_y - w->padding_y;
    const int stop = first + span < w->height ? first + span : w->height;
    if (rows->next < first)
        rows->next = first;
    for (; rows->next < stop; ++rows->next)
        for (int x = 0; x < w->width; ++x) {
            const size_t at = (size_t)(rows->next % span) * (size_t)w->width + (size_t)x;
            const size_t from = ((size_t)rows->next * (size_t)w->width + (size_t)x) * (size_t)w->channels;
            int32_t total = 0;
            rows->count[at] = (uint16_t)list_events_SUFFIX(in + from, w->channels, (uint32_t)row, 0,
                                                           rows->list + at * (size_t)w->channels, &total);
            rows->total[at] = total;
        }
}

/* acc[o] = sum over i, u, v of w[o, i, u, v] * in[i, y, x of tap (u, v)] at one position, by events. */
static MODEL_INLINE void conv2d_events_BITS(const window *w, int row, int large, const event_rows *rows, int room,
                                            uint32_t *list, const uint8_t *weights, int y, int x, int32_t *acc)
{
    const int span = w->dilation_y * (w->kernel_y - 1) + 1, outputs = row * (8 / BITS);
    events taken = {list, 0, room, 0};
    for (int o = 0; o < outputs; ++o)
        acc[o] = 0;
    for (int u = 0; u < w->kernel_y; ++u) {
        const int source = y * w->stride_y + u * w->dilation_y - w->padding_y;
        if (source < 0 || source >= w->height)
            continue;
        for (int v = 0; v < w->kernel_x; ++v) {
            const int column = x * w->stride_x + v * w->dilation_x - w->padding_x;
            if (column < 0 || column >= w->width)
                continue;
            const size_t at = (size_t)(source % span) * (size_t)w->width + (size_t)column;
            const uint32_t offset = (uint32_t)(u * w->kernel_x + v) * (uint32_t)w->channels * (uint32_t)row << 8;
            taken.total += rows->total[at];
            take_events_BITS(&taken, row, weights, offset, rows->list + at * (size_t)w->channels, rows->count[at], large,
                             acc);
        }
    }
    add_events_BITS(row, weights, taken.list, taken.count, acc);
    finish_rows_BITS(row, taken.total, acc);
}

/* acc[o] = sum over i of w[o, i] * in[i], by events, `part` inputs at a time. */
static MODEL_INLINE void linear_events_SUFFIX_BITS(int inputs, int row, int large, const MESSAGE *in, int part,
                                                   uint32_t *found, int room, uint32_t *list, const uint8_t *weights,
                                                   int32_t *acc)
{
    const int outputs = row * (8 / BITS);
    events taken = {list, 0, room, 0};
    for (int o = 0; o < outputs; ++o)
        acc[o] = 0;
    for (int i = 0; i < inputs; i += part) {
        const int count = list_events_SUFFIX(in + i, inputs - i < part ? inputs - i : part, (uint32_t)row, (uint32_t)i,
                                             found, &taken.total);
        take_events_BITS(&taken, row, weights, 0, found, count, large, acc);
    }
    add_events_BITS(row, weights, taken.list, taken.count, acc);
    finish_rows_BITS(row, taken.total, acc);
}
