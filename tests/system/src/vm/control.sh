#!/bin/busybox sh
# Answers the test on the second serial port: a line `NUMBER COMMAND` in, the command's output and
# a line `@@ NUMBER STATUS` out.
stty raw -echo
echo "@@ ready"
while read -r number command; do
    (eval "$command") </dev/null 2>&1
    echo "@@ $number $?"
done
