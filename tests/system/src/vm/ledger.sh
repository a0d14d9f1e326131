#!/bin/busybox sh
# The exclusive work: writes its generation and the boot clock to the third serial port, which ends
# in a file outside of the machine. It ignores polite requests, so that it ends only when it is killed.
trap '' TERM
while :; do
    read -r up idle </proc/uptime
    echo "$NODEMEDIC_GENERATION $up" >/dev/ttyS2
    usleep 100000
done
