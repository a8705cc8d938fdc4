/* Starts a program on a Cortex-M: vector table, memory, coprocessors; then main. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

extern uint32_t load_start[], data_start[], data_end[], bss_start[], bss_end[], stack_top[];
extern int main(void);
void start(void);
void fault(void);

__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {
    (void (*)(void))stack_top, start, fault, fault, fault, fault, fault,
};

void start(void)
{
    *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20;  /* CPACR: floating point and vectors may be used */
    __asm volatile("dsb\n isb" ::: "memory");
    memcpy(data_start, load_start, (size_t)((char *)data_end - (char *)data_start));
    memset(bss_start, 0, (size_t)((char *)bss_end - (char *)bss_start));
    main();
    fault();
}

__attribute__((weak)) void fault(void)
{
    for (;;) {}
}
