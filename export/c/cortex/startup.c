/* Starts a program on a Cortex-M: vector table, memory, coprocessors; then main, whose result ends the simulation. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

extern uint32_t load_start[], data_start[], data_end[], bss_start[], bss_end[], stack_top[];
extern void initialise_monitor_handles(void);
extern int main(int argc, char **argv);
void _init(void);
void _fini(void);
void start(void);
void fault(void);

__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {
    (void (*)(void))stack_top, start, fault, fault, fault, fault, fault,
};

void start(void)
{
    static char *arguments[] = {"model", NULL};
    *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20;  /* CPACR: floating point and vectors may be used */
    __asm volatile("dsb; isb" ::: "memory");
    memcpy(data_start, load_start, (size_t)((char *)data_end - (char *)data_start));
    memset(bss_start, 0, (size_t)((char *)bss_end - (char *)bss_start));
    initialise_monitor_handles();
    exit(main(1, arguments));
}

/* What the C library calls before and after main. */
void _init(void)
{
}

void _fini(void)
{
}

void fault(void)
{
    _Exit(99);
}
