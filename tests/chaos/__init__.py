"""`make chaos`: causes random faults under traffic and checks the outcome of each issue."""
