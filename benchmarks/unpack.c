/* How fast are ternary weights unpacked: four in a byte (two bits each), or five in a byte (trits)?
 * Prints weights, then nanoseconds per weight of each way; on a microcontroller the instructions are counted instead. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BYTES 4096
#ifndef WAY
#define WAY 0
#endif
#ifndef ROUNDS
#define ROUNDS 1
#endif

static uint8_t packed[BYTES];
static int8_t weights[BYTES * 5];
static int8_t trits_of[256][5];

/* Two bits: four weights at a time in a 32-bit word. */
static int two_bits(void)
{
    for (int i = 0; i < BYTES; i += 4) {
        uint32_t word;
        memcpy(&word, packed + i, 4);
        for (int k = 0; k < 4; ++k) {
            const uint32_t codes = (word >> 2 * k) & 0x03030303u;
            memcpy(weights + 4 * i + 4 * k, &codes, 4);
        }
    }
    return BYTES * 4;
}

/* Five trits by a table of 256 x 5 bytes. */
static int trits_by_table(void)
{
    for (int i = 0; i < BYTES; ++i)
        memcpy(weights + 5 * i, trits_of[packed[i]], 5);
    return BYTES * 5;
}

/* Five trits by division: x / 3 is x * 171 >> 9 for a byte. */
static int trits_by_division(void)
{
    for (int i = 0; i < BYTES; ++i) {
        uint32_t rest = packed[i];
        for (int k = 0; k < 5; ++k) {
            const uint32_t next = rest * 171 >> 9;
            weights[5 * i + k] = (int8_t)(rest - 3 * next);
            rest = next;
        }
    }
    return BYTES * 5;
}

int main(void)
{
    int (*const ways[])(void) = {two_bits, trits_by_table, trits_by_division};
    volatile int sink = 0;
    int count = 0;
    for (int i = 0; i < 256; ++i)
        for (int k = 0, rest = i; k < 5; ++k, rest /= 3)
            trits_of[i][k] = (int8_t)(rest % 3);
    for (int i = 0; i < BYTES; ++i)
        packed[i] = (uint8_t)(i * 37 % 243);
    const clock_t began = clock();
    for (int round = 0; round < ROUNDS; ++round) {
        count = ways[WAY]();
        packed[round % BYTES] ^= 1;
        sink += weights[round % count];
    }
    const double seconds = (double)(clock() - began) / CLOCKS_PER_SEC;
    printf("%d %.4f\n", count, seconds / ROUNDS / count * 1e9);
    return sink == -1;
}
