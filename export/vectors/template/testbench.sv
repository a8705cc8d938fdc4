// Shows every neuron of population "@POPULATION@" to hybrid_firing, and compares messages and membranes with the
// golden vectors. Run in the folder of the vectors:
//
//     $ iverilog -g2012 -o testbench testbench.sv hybrid_firing.v && vvp testbench
//     $ verilator --binary --timing -Wno-fatal testbench.sv hybrid_firing.v && obj_dir/Vtestbench
module testbench;
    localparam SAMPLES = @SAMPLES@, STEPS = @STEPS@, CHANNELS = @CHANNELS@, POSITIONS = @POSITIONS@;
    localparam NEURONS = CHANNELS * POSITIONS, VECTORS = SAMPLES * STEPS * NEURONS;
    localparam ACC_BITS = @ACC_BITS@, STATE_BITS = @STATE_BITS@, MESSAGE_BITS = @MESSAGE_BITS@;
    // Parameters are arrays [time-step or 1][channel or 1].
    localparam MULTIPLIER_STEPS = @MULTIPLIER_STEPS@, MULTIPLIER_CHANNELS = @MULTIPLIER_CHANNELS@;
    localparam BIAS_STEPS = @BIAS_STEPS@, BIAS_CHANNELS = @BIAS_CHANNELS@;
    localparam LEAK_STEPS = @LEAK_STEPS@, LEAK_CHANNELS = @LEAK_CHANNELS@;
    localparam THRESHOLD_STEPS = @THRESHOLD_STEPS@, THRESHOLD_CHANNELS = @THRESHOLD_CHANNELS@;

    reg [ACC_BITS-1:0] accs [0:VECTORS-1];
    reg [MESSAGE_BITS-1:0] messages [0:VECTORS-1];
    reg [STATE_BITS-1:0] membranes [0:VECTORS-1];
    reg [15:0] multipliers [0:MULTIPLIER_STEPS*MULTIPLIER_CHANNELS-1];
    reg [31:0] biases [0:BIAS_STEPS*BIAS_CHANNELS-1];
    reg [15:0] leaks [0:LEAK_STEPS*LEAK_CHANNELS-1];
    reg [31:0] thresholds [0:THRESHOLD_STEPS*THRESHOLD_CHANNELS-1];

    reg clock = 0, first = 0;
    reg [31:0] neuron = 0;
    reg [ACC_BITS-1:0] acc;
    reg [15:0] multiplier, leak;
    reg [31:0] bias;
    reg [31:0] threshold;
    wire [MESSAGE_BITS-1:0] message;
    wire [STATE_BITS-1:0] v_next;

    hybrid_firing #(
        .NEURONS(NEURONS), .ACC_BITS(ACC_BITS), .STATE_BITS(STATE_BITS), .MESSAGE_BITS(MESSAGE_BITS),
        .SHIFT(@SHIFT@), .LEAK_SHIFT(@LEAK_SHIFT@), .SPIKE_SHIFT(@SPIKE_SHIFT@)
    ) dut (
        .clock(clock), .valid(1'b1), .first(first), .neuron(neuron), .acc(acc), .multiplier(multiplier), .bias(bias),
        .leak(leak), .threshold(threshold[STATE_BITS-1:0]), .message(message), .v_next(v_next)
    );

    integer i, t, c, different = 0;

    initial begin
        $readmemh("@ACC_FILE@", accs);
        $readmemh("@MESSAGE_FILE@", messages);
        $readmemh("@MEMBRANE_FILE@", membranes);
        $readmemh("@MULTIPLIER_FILE@", multipliers);
        $readmemh("@BIAS_FILE@", biases);
        $readmemh("@LEAK_FILE@", leaks);
        $readmemh("@THRESHOLD_FILE@", thresholds);
        for (i = 0; i < VECTORS; i = i + 1) begin
            neuron = i % NEURONS;
            t = i / NEURONS % STEPS;
            c = neuron / POSITIONS;
            first = t == 0;
            acc = accs[i];
            multiplier = multipliers[t % MULTIPLIER_STEPS * MULTIPLIER_CHANNELS + c % MULTIPLIER_CHANNELS];
            bias = biases[t % BIAS_STEPS * BIAS_CHANNELS + c % BIAS_CHANNELS];
            leak = leaks[t % LEAK_STEPS * LEAK_CHANNELS + c % LEAK_CHANNELS];
            threshold = thresholds[t % THRESHOLD_STEPS * THRESHOLD_CHANNELS + c % THRESHOLD_CHANNELS];
            #1;
            if (message !== messages[i] || v_next !== membranes[i]) begin
                if (different < 10)
                    $display("vector %0d: message %0d, expected %0d; membrane %0d, expected %0d", i, message, messages[i],
                             $signed(v_next), $signed(membranes[i]));
                different = different + 1;
            end
            #1 clock = 1;
            #1 clock = 0;
        end
        $display("%0d vectors, %0d different", VECTORS, different);
        $finish;
    end
endmodule
