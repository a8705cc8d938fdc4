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

/* The same for the rows of `count` messages in turn. For VNNI two signed 16-bit messages, 16 bytes of their rows each, are
 * two products and their sum in one instruction for each plane. */
static inline void add_rows_SUFFIX_BITS(int row, const uint8_t *restrict codes, const MESSAGE *in, int count,
                                        int32_t *restrict acc)
{
    int i = 0;
#if MODEL_VNNI
    enum { planes = 8 / BITS };
    if (sizeof(MESSAGE) == 2 && (MESSAGE)-1 == -1 && row % 16 == 0) {
        const __m512i each = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        const __m512i order =
            _mm512_add_epi32(_mm512_set1_epi32(0x00100000), _mm512_mullo_epi32(each, _mm512_set1_epi32(0x10001)));
        const __m512i mask = _mm512_set1_epi16((1 << BITS) - 1);
        for (int byte = 0; byte < row; byte += 16) {
            __m512i sums[planes];
            for (int k = 0; k < planes; ++k)
                sums[k] = _mm512_setzero_si512();
            for (i = 0; i + 2 <= count; i += 2) {
                const uint8_t *from = codes + (size_t)i * (size_t)row + byte;
                int32_t two;
                memcpy(&two, in + i, sizeof two);
                const __m128i first = _mm_loadu_si128((const void *)from);
                const __m128i second = _mm_loadu_si128((const void *)(from + row));
                const __m512i both = _mm512_inserti32x4(_mm512_castsi128_si512(first), second, 1);
                const __m512i pairs = _mm512_maskz_permutexvar_epi8(UINT64_C(0x5555555555555555), order, both);
                for (int k = 0; k < planes; ++k) {
                    const __m512i plane = _mm512_and_si512(_mm512_srli_epi16(pairs, k * BITS), mask);
                    sums[k] = _mm512_dpwssd_epi32(sums[k], plane, _mm512_set1_epi32(two));
                }
            }
            for (int k = 0; k < planes; ++k) {
                int32_t sum[16];
                _mm512_storeu_si512(sum, sums[k]);
                for (int j = 0; j < 16; ++j)
                    acc[k * row + byte + j] += sum[j];
            }
        }
    }
#endif
    for (; i < count; ++i)
        if (in[i] != 0)
            add_row_BITS(row, codes + (size_t)i * (size_t)row, in[i], acc);
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
            for (int i = 0; i < w->channels; ++i)
                total += at[i];
            add_rows_SUFFIX_BITS(row, weights + tap * (size_t)row, at, w->channels, acc);
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
    for (int i = 0; i < inputs; ++i)
        total += in[i];
    add_rows_SUFFIX_BITS(row, weights, in, inputs, acc);
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
#if MODEL_VNNI
#define EVENT_LIMIT 127  /* sums have 32 bits */
#define EVENTS_COPIED 16  /* at a time: lists have room for 15 more, which mean nothing */
#else
#define EVENT_LIMIT 15
#define EVENTS_COPIED 4
#endif

/* Adds the codes of `count` events, times their values, to acc[0 .. outputs - 1]; list has room up to a multiple of
 * EVENTS_AT_ONCE, and `count` times EVENT_LIMIT times the largest code is below 2^16.
 * For vectors: along the row, in loops that compilers turn into them. */
#if MODEL_VECTORS && !MODEL_VNNI
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
#if MODEL_VECTORS && !MODEL_VNNI && defined(__GNUC__)
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

/* The same for VNNI: four products and their sum are one instruction for an output of each of 16 words. Of a row 16 bytes are
 * read of four events, 8 or 4 of as many as fill a vector with them. Codes are not shifted down, their sums are. */
#if MODEL_VNNI
static inline void add_part_BITS(int row, int bytes, const uint8_t *restrict weights, const uint32_t *restrict offsets,
                                 const uint8_t *restrict values, int count, int32_t *restrict acc)
{
    enum { planes = 8 / BITS };
    const int events = bytes == 16 ? 4 : EVENTS_AT_ONCE;
    const __m512i each = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i ones = _mm512_set1_epi32(0x01010101);
    __m512i order = _mm512_add_epi32(_mm512_set1_epi32(0x30201000), _mm512_mullo_epi32(each, ones)), sums[planes];
    if (bytes < 16) {  /* events 0 .. 3 in words 0 .. 7, events 4 .. 7 in words 8 .. 15 */
        const __m512i byte = _mm512_and_si512(each, _mm512_set1_epi32(7));
        order = _mm512_add_epi32(_mm512_set1_epi32(0x18100800), _mm512_mullo_epi32(byte, ones));
        order = _mm512_mask_add_epi32(order, 0xFF00, order, _mm512_set1_epi32(0x20202020));
    }
    for (int k = 0; k < planes; ++k)
        sums[k] = _mm512_setzero_si512();
    for (int i = 0; i < count; i += events) {
        __m128i parts[4];
        __m512i value;
        for (int e = 0; e < 4; ++e) {
            if (bytes == 16) {
                parts[e] = _mm_loadu_si128((const void *)(weights + offsets[i + e]));
            } else {
                uint64_t low = 0, high = 0;
                memcpy(&low, weights + offsets[i + 2 * e], (size_t)bytes);
                memcpy(&high, weights + offsets[i + 2 * e + 1], (size_t)bytes);
                parts[e] = _mm_set_epi64x((long long)high, (long long)low);
            }
        }
        __m512i codes = _mm512_inserti32x4(_mm512_castsi128_si512(parts[0]), parts[1], 1);
        codes = _mm512_inserti32x4(_mm512_inserti32x4(codes, parts[2], 2), parts[3], 3);
        codes = _mm512_permutexvar_epi8(order, codes);
        int32_t four[2];
        memcpy(four, values + i, (size_t)events);
        value = _mm512_set1_epi32(four[0]);
        if (bytes < 16)
            value = _mm512_mask_set1_epi32(value, 0xFF00, four[1]);
        for (int k = 0; k < planes; ++k) {
            const __m512i plane = _mm512_set1_epi8((char)(((1 << BITS) - 1) << k * BITS));
            sums[k] = _mm512_dpbusd_epi32(sums[k], _mm512_and_si512(codes, plane), value);
        }
    }
    for (int k = 0; k < planes; ++k) {
        int32_t each[16];
        if (bytes < 16)
            sums[k] = _mm512_add_epi32(sums[k], _mm512_shuffle_i64x2(sums[k], sums[k], 0x4E));
        _mm512_storeu_si512(each, _mm512_srl_epi32(sums[k], _mm_cvtsi32_si128(k * BITS)));
        for (int j = 0; j < bytes; ++j)
            acc[k * row + j] += each[j];
    }
}
#endif

#if MODEL_VNNI
static inline void add_event_vnni_BITS(int row, const uint8_t *restrict weights, uint32_t *restrict offsets,
                                       uint8_t *restrict values, int count, int32_t *restrict acc)
{
    int byte = 0;
    memset(offsets + count, 0, EVENTS_AT_ONCE * sizeof *offsets);
    memset(values + count, 0, EVENTS_AT_ONCE);
    for (; byte + 16 <= row; byte += 16)
        add_part_BITS(row, 16, weights + byte, offsets, values, count, acc + byte);
    if (row & 8) {
        add_part_BITS(row, 8, weights + byte, offsets, values, count, acc + byte);
        byte += 8;
    }
    if (row & 4)
        add_part_BITS(row, 4, weights + byte, offsets, values, count, acc + byte);
}
#endif

/* The same without vectors, from byte `first` of the rows: along the events, with the sums of 16 outputs in registers. */
#if !MODEL_VNNI
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
#endif

/* A list of events that is added up whenever it is full; for VNNI offsets and values apart. */
typedef struct {
    uint32_t *list;
    int count, room;
    int32_t total;  /* of the values */
#if MODEL_VNNI
    uint8_t values[MODEL_LIST_ROOM + EVENTS_COPIED];
#endif
} events;

/* Adds up what is listed, in one way or the other, by what the processor has. */
static inline void add_events_BITS(events *taken, int row, const uint8_t *restrict weights, int32_t *restrict acc)
{
#if MODEL_VNNI
    add_event_vnni_BITS(row, weights, taken->list, taken->values, taken->count, acc);
#else
    int first = 0;
#if MODEL_VECTORS
    if (row % MODEL_VECTORS == 0) {
        add_event_rows_BITS(row, weights, taken->list, taken->count, acc);
        first = row;
    }
#ifdef __GNUC__
    if (first < row && row % 8 == 0) {
        add_event_lanes_BITS(row, weights, taken->list, taken->count, acc);
        first = row;
    }
#endif
#endif
#if MODEL_HELIUM
    if (BITS == 2)
        first = add_event_helium(row, weights, taken->list, taken->count, acc);
#endif
    if (first < row)
        add_event_words_BITS(first, row, weights, taken->list, taken->count, acc);
#endif
    taken->count = 0;
}

/* Adds events to the list, at an offset of their weights; a value above EVENT_LIMIT as several. */
static inline void take_events_BITS(events *taken, int row, const uint8_t *weights, uint32_t offset,
                                    const uint32_t *from, int count, int limit, int32_t *acc)
{
    for (int i = 0; i < count;) {
        if (limit > EVENT_LIMIT) {
            uint32_t left = from[i] & 255;
            while (left > 0) {
                const uint32_t value = left < EVENT_LIMIT ? left : EVENT_LIMIT;
                const uint32_t at = (from[i] & ~UINT32_C(255)) + offset;
                if (taken->count == taken->room)
                    add_events_BITS(taken, row, weights, acc);
#if MODEL_VNNI
                taken->values[taken->count] = (uint8_t)value;
                taken->list[taken->count++] = at >> 8;
#else
                taken->list[taken->count++] = at | value;
#endif
                left -= value;
            }
            ++i;
        } else {
            if (taken->count == taken->room)
                add_events_BITS(taken, row, weights, acc);
            const int left = count - i, fits = taken->room - taken->count, n = left < fits ? left : fits;
            for (int e = 0; e < n; e += EVENTS_COPIED) {
#if MODEL_VNNI
                const __m512i event = _mm512_loadu_si512(from + i + e);
                const __m512i at = _mm512_add_epi32(event, _mm512_set1_epi32((int32_t)offset));
                _mm512_storeu_si512(taken->list + taken->count + e, _mm512_srli_epi32(at, 8));
                _mm_storeu_si128((void *)(taken->values + taken->count + e), _mm512_cvtepi32_epi8(event));
#else
                for (int more = 0; more < EVENTS_COPIED; ++more)
                    taken->list[taken->count + e + more] = from[i + e + more] + offset;
#endif
            }
            taken->count += n;
            i += n;
        }
    }
}

/* Lists the messages of some channels that are not 0; returns their number, adds them to *total. */
static inline int list_events_SUFFIX(const MESSAGE *in, int channels, uint32_t row, uint32_t first, uint32_t *list,
                                     int32_t *total)
{
    int count = 0, i = 0;
    int32_t sum = 0;
#if MODEL_VNNI
    const __m512i each = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i sums = _mm512_setzero_si512();
    for (; i + 16 <= channels; i += 16) {
        uint32_t wide[16];
        for (int j = 0; j < 16; ++j)
            wide[j] = in[i + j];
        const __m512i messages = _mm512_loadu_si512(wide);
        const __m512i at = _mm512_add_epi32(each, _mm512_set1_epi32((int32_t)first + i));
        const __m512i offsets = _mm512_slli_epi32(_mm512_mullo_epi32(at, _mm512_set1_epi32((int32_t)row)), 8);
        const __mmask16 kept = _mm512_test_epi32_mask(messages, messages);
        sums = _mm512_add_epi32(sums, messages);
        _mm512_storeu_si512(list + count, _mm512_maskz_compress_epi32(kept, _mm512_or_si512(offsets, messages)));
        count += _mm_popcnt_u32(kept);
    }
    sum = _mm512_reduce_add_epi32(sums);
#endif
    for (; i < channels; ++i) {
        const uint32_t message = in[i];
        list[count] = (first + (uint32_t)i) * row << 8 | message;
        count += message != 0;
        sum += (int32_t)message;
    }
    *total += sum;
    return count;
}

/* The events of the source's rows that a convolution is at, each row's one after the other from its `list` on: those of
 * column x begin at start[x], total[x] is the sum of the columns before it. Where `dense` is not NULL, `list` has all the
 * messages of the rows instead, with zeros as padding. */
typedef struct {
    uint32_t *list;
    int32_t *start, *total;
    const uint8_t *dense;
    int32_t *tile;
    int next;  /* the first row that is not listed yet */
} event_rows;

/* Lists the events of the rows that output row y reads and that are not listed yet. */
static inline void advance_rows_SUFFIX(const window *w, const MESSAGE *in, int row, int y, event_rows *rows)
{
    const int span = w->dilation_y * (w->kernel_y - 1) + 1, first = y * w->stride_y - w->padding_y;
    const int stop = first + span < w->height ? first + span : w->height;
    if (rows->next < first)
        rows->next = first;
    for (; rows->next < stop; ++rows->next) {
        const size_t slot = (size_t)(rows->next % span), width = (size_t)w->width, channels = (size_t)w->channels;
        const MESSAGE *from = in + (size_t)rows->next * width * channels;
        uint32_t *list = rows->list + slot * width * channels;
        int32_t *start = rows->start + slot * (width + 1), *total = rows->total + slot * (width + 1);
        start[0] = total[0] = 0;
        for (size_t x = 0; x < width; ++x) {
            total[x + 1] = total[x];
            start[x + 1] = start[x] + list_events_SUFFIX(from + x * channels, w->channels, (uint32_t)row,
                                                         (uint32_t)(x * channels), list + start[x], &total[x + 1]);
        }
    }
}

/* acc[o] = sum over i, u, v of w[o, i, u, v] * in[i, y, x of tap (u, v)] at one position, by events: those of a kernel row
 * are one run. */
static MODEL_INLINE void conv2d_events_BITS(const window *w, int row, int limit, const event_rows *rows, int room,
                                            uint32_t *list, const uint8_t *weights, int y, int x, int32_t *acc)
{
    const int span = w->dilation_y * (w->kernel_y - 1) + 1, outputs = row * (8 / BITS);
    const int taps = w->dilation_x == 1 ? w->kernel_x : 1;
    events taken;
    taken.list = list, taken.count = 0, taken.room = room, taken.total = 0;
    for (int o = 0; o < outputs; ++o)
        acc[o] = 0;
    for (int u = 0; u < w->kernel_y; ++u) {
        const int source = y * w->stride_y + u * w->dilation_y - w->padding_y;
        if (source < 0 || source >= w->height)
            continue;
        for (int v = 0; v < w->kernel_x; v += taps) {
            const int column = x * w->stride_x + v * w->dilation_x - w->padding_x;
            const int first = column < 0 ? 0 : column, stop = column + taps < w->width ? column + taps : w->width;
            if (first >= stop)
                continue;
            const size_t slot = (size_t)(source % span), at = slot * (size_t)(w->width + 1);
            const int32_t start = rows->start[at + (size_t)first], count = rows->start[at + (size_t)stop] - start;
            const uint32_t *from = rows->list + slot * (size_t)w->width * (size_t)w->channels + start;
            const uint32_t shift = (uint32_t)(u * w->kernel_x + v - column) * (uint32_t)w->channels * (uint32_t)row;
            taken.total += rows->total[at + (size_t)stop] - rows->total[at + (size_t)first];
            take_events_BITS(&taken, row, weights, shift << 8, from, count, limit, acc);
        }
    }
    add_events_BITS(&taken, row, weights, acc);
    finish_rows_BITS(row, taken.total, acc);
}

/* Chooses between `dense` and events: three messages of ten that are not 0 cost the same in both. */
#if MODEL_HELIUM
static inline void choose_dense(event_rows *rows, const uint8_t *dense, int32_t *tile, const uint8_t *in, int messages)
{
    uint32_t count = 0;
    for (int i = 0; i < messages; i += 16)
        count = vaddvaq_u8(count, vminq_u8(vldrbq_u8(in + i), vdupq_n_u8(1)));
    rows->dense = 10 * (uint64_t)count > 3 * (uint64_t)messages ? dense : NULL;
    rows->tile = tile;
}
#endif

#if MODEL_HELIUM
static inline int padded_width(const window *w)
{
    return w->width + 2 * w->padding_x + (DENSE_TILE - 1) * w->stride_x;
}
#endif

#if MODEL_HELIUM
static inline void pad_rows(const window *w, const uint8_t *in, int y, event_rows *rows)
{
    const int span = w->dilation_y * (w->kernel_y - 1) + 1, first = y * w->stride_y - w->padding_y;
    const int stop = first + span < w->height ? first + span : w->height, width = padded_width(w);
    if (rows->next < first)
        rows->next = first;
    for (; rows->next < stop; ++rows->next) {
        const int slot = rows->next % span;
        const uint8_t *from = in + (size_t)rows->next * (size_t)w->width * (size_t)w->channels;
        uint8_t *to = (uint8_t *)rows->list + (size_t)slot * (size_t)width * (size_t)w->channels;
        int32_t *total = rows->total + (size_t)slot * (size_t)(width + 1);
        uint32_t sum = 0;
        total[0] = 0;
        for (int x = 0; x < width; ++x) {
            const int inside = x >= w->padding_x && x < w->padding_x + w->width;
            for (int i = 0; i < w->channels; i += 16, to += 16) {
                uint8x16_t messages = vdupq_n_u8(0);
                if (inside) {
                    messages = vldrbq_u8(from);
                    from += 16;
                }
                sum = vaddvaq_u8(sum, messages);
                vstrbq_u8(to, messages);
            }
            total[x + 1] = (int32_t)sum;
        }
    }
}
#endif

/* A convolution whose source has few zeros, for Helium: all products, DENSE_TILE positions at a time. Weights as above, four
 * codes in a byte, but all inputs of one output after the other: 16 messages times 16 bytes that are shifted down by 0, 2, 4
 * and 6 are added up in one instruction each; a plane's sum is the difference of two. */
#if MODEL_HELIUM
#define DENSE_RUN(shift, first, a0, a1, a2, b0, b1, b2) \
    __asm__("dls lr, %[count]\n" \
            "1: vldrb.8 q0, [%[codes]], #16\n" \
            "vldrb.8 q2, [%[in0]], #16\n" \
            "vshr.u8 q1, q0, " shift "\n" first "\n" \
            "vldrb.8 q3, [%[in1]], #16\n" \
            "vmladava.u8 %[A0], q0, q2\n" \
            "vmladava.u8 %[B0], q1, q2\n" \
            "vldrb.8 q2, [%[in2]], #16\n" \
            "vmladava.u8 %[A1], q0, q3\n" \
            "vmladava.u8 %[B1], q1, q3\n" \
            "vmladava.u8 %[A2], q0, q2\n" \
            "vmladava.u8 %[B2], q1, q2\n" \
            "le lr, 1b\n" \
            : [A0] "+Te"(a0), [A1] "+Te"(a1), [A2] "+Te"(a2), [B0] "+Te"(b0), [B1] "+Te"(b1), [B2] "+Te"(b2), \
              [codes] "+r"(codes), [in0] "+r"(in0), [in1] "+r"(in1), [in2] "+r"(in2) \
            : [count] "r"(run / 16) \
            : "q0", "q1", "q2", "q3", "lr", "memory")
static MODEL_APART void conv2d_dense(const window *w, int row, const event_rows *rows, int y, int x, int32_t *restrict tile)
{
    const int span = w->dilation_y * (w->kernel_y - 1) + 1, width = padded_width(w), outputs = 4 * row;
    const size_t run = (size_t)(w->kernel_x * w->channels), step = (size_t)(w->stride_x * w->channels);
    const uint8_t *at[DENSE_ROWS], *weights = rows->dense;
    uint32_t total[DENSE_TILE] = {0};
    int first = 0, stop = 0;
    for (int u = 0; u < w->kernel_y; ++u) {
        const int source = y * w->stride_y + u * w->dilation_y - w->padding_y;
        if (source < 0) {
            first = u + 1;
        } else if (source < w->height) {
            const int slot = source % span;
            at[u] = (const uint8_t *)rows->list + (size_t)slot * (size_t)width * (size_t)w->channels + (size_t)x * step;
            for (int p = 0; p < DENSE_TILE; ++p) {
                const int32_t *sums = rows->total + slot * (width + 1) + (x + p) * w->stride_x;
                total[p] += (uint32_t)(sums[w->kernel_x] - sums[0]);
            }
            stop = u + 1;
        }
    }
    for (int j = 0; j < row; ++j, weights += (size_t)w->kernel_y * run, ++tile) {
        uint32_t e0 = -5 * total[0], e1 = -5 * total[1], e2 = -5 * total[2], f0 = -total[0], f1 = -total[1], f2 = -total[2];
#pragma GCC unroll 1
        for (int u = first; u < stop; ++u) {
            const uint8_t *codes = weights + (size_t)u * run, *in0 = at[u], *in1 = in0 + step, *in2 = in1 + step;
            DENSE_RUN("#6", "vshr.u8 q0, q0, #4", e0, e1, e2, f0, f1, f2);
        }
        tile[3 * row] = (int32_t)f0;
        tile[3 * row + outputs] = (int32_t)f1;
        tile[3 * row + 2 * outputs] = (int32_t)f2;
        tile[2 * row] = (int32_t)(e0 - 4 * f0);
        tile[2 * row + outputs] = (int32_t)(e1 - 4 * f1);
        tile[2 * row + 2 * outputs] = (int32_t)(e2 - 4 * f2);
        f0 = e0, f1 = e1, f2 = e2;
        uint32_t a0 = -85 * total[0], a1 = -85 * total[1], a2 = -85 * total[2];
        uint32_t b0 = -21 * total[0], b1 = -21 * total[1], b2 = -21 * total[2];
#pragma GCC unroll 1
        for (int u = first; u < stop; ++u) {
            const uint8_t *codes = weights + (size_t)u * run, *in0 = at[u], *in1 = in0 + step, *in2 = in1 + step;
            DENSE_RUN("#2", "", a0, a1, a2, b0, b1, b2);
        }
        tile[row] = (int32_t)(b0 - 4 * f0);
        tile[row + outputs] = (int32_t)(b1 - 4 * f1);
        tile[row + 2 * outputs] = (int32_t)(b2 - 4 * f2);
        tile[0] = (int32_t)(a0 - 4 * b0);
        tile[outputs] = (int32_t)(a1 - 4 * b1);
        tile[2 * outputs] = (int32_t)(a2 - 4 * b2);
    }
}
#endif

/* The rows that output row y reads, in either way. */
static inline void advance_either_SUFFIX(const window *w, const MESSAGE *in, int row, int y, event_rows *rows)
{
#if MODEL_HELIUM
    if (rows->dense != NULL) {
        pad_rows(w, in, y, rows);
        return;
    }
#endif
    advance_rows_SUFFIX(w, in, row, y, rows);
}

/* A convolution at one position in either way; returns where the sums are. */
static MODEL_INLINE int32_t *conv2d_either_BITS(const window *w, int row, int limit, const event_rows *rows, int room,
                                                uint32_t *list, const uint8_t *weights, int y, int x, int32_t *acc)
{
#if MODEL_HELIUM
    if (rows->dense != NULL) {
        if (x % DENSE_TILE == 0)
            conv2d_dense(w, row, rows, y, x, rows->tile);
        return rows->tile + x % DENSE_TILE * row * 4;
    }
#endif
    conv2d_events_BITS(w, row, limit, rows, room, list, weights, y, x, acc);
    return acc;
}

/* acc[o] = sum over i of w[o, i] * in[i], by events, `part` inputs at a time. */
static MODEL_INLINE void linear_events_SUFFIX_BITS(int inputs, int row, int limit, const MESSAGE *in, int part,
                                                   uint32_t *found, int room, uint32_t *list, const uint8_t *weights,
                                                   int32_t *acc)
{
    const int outputs = row * (8 / BITS);
    events taken;
    taken.list = list, taken.count = 0, taken.room = room, taken.total = 0;
    for (int o = 0; o < outputs; ++o)
        acc[o] = 0;
    for (int i = 0; i < inputs; i += part) {
        const int count = list_events_SUFFIX(in + i, inputs - i < part ? inputs - i : part, (uint32_t)row, (uint32_t)i,
                                             found, &taken.total);
        take_events_BITS(&taken, row, weights, 0, found, count, limit, acc);
    }
    add_events_BITS(&taken, row, weights, acc);
    finish_rows_BITS(row, taken.total, acc);
}
