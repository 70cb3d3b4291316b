#!/usr/bin/env bash
# Runs a program by mpirun on hosts that are none: every rank in a network namespace of its own, with its own name and
# address, behind a link of limited bandwidth. They meet at a bridge. Needs root, `ip`, `tc` and Open MPI; what it makes,
# it removes at the end.
#   namespaces.sh RANKS RATE PROGRAM ARGUMENT...     e.g. namespaces.sh 4 200mbit node script.js
set -euo pipefail

prefix=fattn      # of the names of bridge, links and namespaces
network=10.213.77 # /24; mpirun is .1, rank r is .(10 + r)

# How mpirun reaches a host, in the place of ssh: enter ADDRESS COMMAND...
if [ "${1-}" = enter ]; then
  rank=$((${2##*.} - 10))
  shift 2
  exec ip netns exec "$prefix$rank" unshare --uts sh -c "hostname $prefix$rank; $*"
fi

[ $# -ge 3 ] || { echo "usage: $0 RANKS RATE PROGRAM ARGUMENT..." >&2; exit 2; }
[ "$(id -u)" -eq 0 ] || { echo 'network namespaces need root: run as root, or without namespaces' >&2; exit 1; }
for tool in ip tc mpirun unshare; do
  command -v "$tool" > /dev/null || { echo "needs $tool (Debian: iproute2, openmpi-bin, util-linux)" >&2; exit 1; }
done
ranks=$1 rate=$2
shift 2

remove() {
  local rank
  for ((rank = 0; rank < ranks; rank++)); do
    ip link del "$prefix$rank" 2> /dev/null || true
    ip netns del "$prefix$rank" 2> /dev/null || true
  done
  ip link del "$prefix" 2> /dev/null || true
}
trap remove EXIT
remove

limit() { tc "$@" root tbf rate "$rate" burst 256kb latency 100ms; }

ip link add "$prefix" type bridge
ip addr add "$network.1/24" dev "$prefix"
ip link set "$prefix" up
hosts=
for ((rank = 0; rank < ranks; rank++)); do
  name=$prefix$rank address=$network.$((10 + rank))
  ip netns add "$name"
  ip link add "$name" type veth peer name eth0 netns "$name"
  ip link set "$name" master "$prefix" up
  ip -n "$name" link set lo up
  ip -n "$name" addr add "$address/24" dev eth0
  ip -n "$name" link set eth0 up
  limit qdisc add dev "$name"             # what comes to it
  limit -n "$name" qdisc add dev eth0     # what it sends
  hosts+=${hosts:+,}$address
done

export FUSED_ATTENTION_THREADS=${FUSED_ATTENTION_THREADS:-1}
mpirun --allow-run-as-root -n "$ranks" --host "$hosts" --bind-to none -x FUSED_ATTENTION_THREADS \
  --mca plm_rsh_agent "$(realpath "$0") enter" --mca plm_rsh_no_tree_spawn 1 \
  --mca oob_tcp_if_include "$network.0/24" --mca btl tcp,self --mca btl_tcp_if_include "$network.0/24" "$@"
