# Run a command without network, and write how many packets it sent beyond loopback to FOLDER/packets.
#
#     unshare --map-root-user --net --mount sh namespace.sh FOLDER COMMAND...
#
# Every route and every name server lead into a pair of virtual interfaces, at whose other end is nothing. The kernel
# counts what is sent there, so code in C and C++ is seen too.
set -e
folder=$1
shift
ip link set lo up
ip link add away type veth peer name nowhere
for end in away nowhere; do
    echo 1 > /proc/sys/net/ipv6/conf/$end/disable_ipv6  # or the kernel itself sends packets
    ip link set $end arp off up
done
ip address add 192.0.2.1/24 dev away
ip route add default via 192.0.2.2
printf "nameserver 192.0.2.3\noptions timeout:1 attempts:1\n" > "$folder/resolv.conf"
mount --bind "$folder/resolv.conf" /etc/resolv.conf
status=0
"$@" || status=$?
awk '$1 == "away:" { print $11 }' /proc/net/dev > "$folder/packets"
exit $status
