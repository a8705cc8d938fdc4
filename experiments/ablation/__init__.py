"""What each part of an HM-DF network is worth: variants trained under one equal budget, then run as integers."""
