// One HM-DF neuron (hybrid_firing in docs/numerics.md) with one port, for NEURONS neurons in turn: one each clock.
//
//   I = clamp(bias + rshift(multiplier * acc, SHIFT), state range)
//   m = clamp(rshift(leak * v, LEAK_SHIFT) + I, state range)
//   message = min(rshift(max(m - threshold, 0), SPIKE_SHIFT), 2^MESSAGE_BITS - 1);  v <- min(m, threshold)
module hybrid_firing #(
    parameter NEURONS = 1,
    parameter ACC_BITS = 24,
    parameter STATE_BITS = 24,
    parameter MESSAGE_BITS = 4,
    parameter SHIFT = 0,
    parameter LEAK_SHIFT = 12,
    parameter SPIKE_SHIFT = 8
) (
    input clock,
    input valid,                              // a neuron is shown
    input first,                              // the first time-step of a sample: its membrane is 0
    input [31:0] neuron,                      // 0 .. NEURONS - 1
    input signed [ACC_BITS-1:0] acc,          // the accumulator of its synapse
    input signed [15:0] multiplier,
    input signed [31:0] bias,
    input signed [15:0] leak,
    input signed [STATE_BITS-1:0] threshold,
    output [MESSAGE_BITS-1:0] message,        // what it sends, in the same clock
    output signed [STATE_BITS-1:0] v_next     // its membrane from the next clock on
);
    // No intermediate is wider: 16 bits times an accumulator or a state, and one bit more for each sum.
    localparam WIDE = 16 + 3 + (ACC_BITS > STATE_BITS ? ACC_BITS : STATE_BITS) + (STATE_BITS < 32 ? 32 - STATE_BITS : 0);
    localparam signed [WIDE-1:0] STATE_MAX = (64'sd1 <<< (STATE_BITS - 1)) - 1;
    localparam signed [WIDE-1:0] STATE_MIN = -(64'sd1 <<< (STATE_BITS - 1));
    localparam signed [WIDE-1:0] MESSAGE_MAX = (64'sd1 <<< MESSAGE_BITS) - 1;

    // x / 2^n, halves rounded up: the arithmetic shift plus the last bit that it shifts out.
    function signed [WIDE-1:0] rshift(input signed [WIDE-1:0] x, input integer n);
        reg signed [WIDE-1:0] quotient, half;
        begin
            quotient = x >>> n;
            half = (x >>> (n > 0 ? n - 1 : 0)) & 1;
            rshift = n > 0 ? quotient + half : x;
        end
    endfunction

    function signed [WIDE-1:0] clamp_state(input signed [WIDE-1:0] x);
        clamp_state = x < STATE_MIN ? STATE_MIN : x > STATE_MAX ? STATE_MAX : x;
    endfunction

    reg signed [STATE_BITS-1:0] v [0:NEURONS-1];

    wire signed [WIDE-1:0] v_before = first ? 0 : v[neuron];
    wire signed [WIDE-1:0] product = multiplier * acc;
    wire signed [WIDE-1:0] current = clamp_state(bias + rshift(product, SHIFT));
    wire signed [WIDE-1:0] leaked = leak * v_before;
    wire signed [WIDE-1:0] m = clamp_state(rshift(leaked, LEAK_SHIFT) + current);
    wire signed [WIDE-1:0] above = m > threshold ? m - threshold : 0;
    wire signed [WIDE-1:0] spike = rshift(above, SPIKE_SHIFT);
    wire signed [WIDE-1:0] kept = m < threshold ? m : threshold;

    assign message = spike > MESSAGE_MAX ? MESSAGE_MAX[MESSAGE_BITS-1:0] : spike[MESSAGE_BITS-1:0];
    assign v_next = kept[STATE_BITS-1:0];

    always @(posedge clock)
        if (valid)
            v[neuron] <= v_next;
endmodule
