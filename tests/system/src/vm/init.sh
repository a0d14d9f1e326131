#!/bin/busybox sh
# The first program of the test machine: mounts, loads drivers, brings up the network, starts the
# watchdog and the agent as systemd would, and answers the test on the second serial port.
/bin/busybox --install -s /bin
export PATH=/bin HOME=/
mount -t devtmpfs dev /dev
exec </dev/null >/dev/ttyS0 2>&1
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
while read -r module; do
    insmod "/modules/$module" || echo "GUEST: insmod $module failed"
done </modules/order
# It survives a reset; everything else is in memory.
mount -t ext4 /dev/vda /state || echo "GUEST: the state disk cannot be mounted"
mkdir -p /run/nodemedic /state/agent /state/watchdog
hostname machine
ip link set lo up
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
ip route add default via 10.0.2.2

start watchdog
start agent
# Waiting for a child reaps every orphan too.
while :; do
    setsid control </dev/ttyS1 >/dev/ttyS1 2>/dev/ttyS0
done
