#!/bin/busybox sh
# start watchdog|agent: runs the program and, like systemd with Restart=always, starts it again when
# it ends, until `/run/keep.NAME` is removed.
name=$1
touch "/run/keep.$name"
keep() {
    while [ -e "/run/keep.$name" ]; do
        # shellcheck disable=SC2046
        "nodemedic-$name" $(cat "/etc/$name.arguments")
        echo "GUEST: $name ended with status $?"
        # systemd's RestartSec=1s of the agent's unit.
        [ ! -e "/run/keep.$name" ] || sleep 1
    done
}
keep </dev/null >/dev/ttyS0 2>&1 &
