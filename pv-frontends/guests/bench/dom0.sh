# Beside the guest `bench`: a second domain of the same image, which sends its events back.
cat > /tmp/echo.cfg <<'C'
name = "bench-echo"
kernel = "/paravane/bench"
memory = 16
extra = "echo"
on_crash = "destroy"
C
xlr create -q /tmp/echo.cfg || exit 1
echo_id=$(xlr domid bench-echo)
until id=$(xlr domid bench 2> /dev/null); do sleep 0.2; done
xenstore write "/local/domain/$id/data/peer" "$echo_id"
xenstore write "/local/domain/$echo_id/data/peer" "$id"
while xlr domid bench > /dev/null 2>&1; do sleep 0.5; done
xlr destroy bench-echo
