"""What hmdf-sim does: samples fed to a program, compared with the float network, with executors and with a baseline."""
