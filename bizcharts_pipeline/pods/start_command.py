"""What a container does first: it arms a switch that ends the pod when nobody comes, and then starts as ever.

The switch needs no connection to be set, so it also covers the minutes before anything else does.
"""

import base64

GUARD_ONLY = "BIZCHARTS_GUARD_ONLY"  # set to anything: arm the switch and start nothing

# The key is in no argument list: printf is the shell's own, and curl and python3 are told on stdin or by environment.
# The deadline is kept, for a container that restarts starts here again.
_SCRIPT = r"""
set -u
export HOME=${HOME:-/root}
workspace=${BIZCHARTS_WORKSPACE:-/workspace}
mkdir -p "$workspace" 2>/dev/null && [ -w "$workspace" ] || { workspace=$HOME/workspace; mkdir -p "$workspace"; }
control=${BIZCHARTS_CONTROL_URL:-https://api.runpod.io}
pod=${RUNPOD_POD_ID:-}

if [ -n "$pod" ]; then
  (umask 077; printf '{"pod_id": "%s", "api_key": "%s", "control_url": "%s"}\n' \
    "$pod" "${RUNPOD_API_KEY:-}" "$control" > "$workspace/.bizcharts-pod.json.part" \
    && mv -f "$workspace/.bizcharts-pod.json.part" "$workspace/.bizcharts-pod.json")

  rest() {
    if command -v curl >/dev/null; then
      printf 'header = "Authorization: Bearer %s"\n' "${RUNPOD_API_KEY:-}" \
        | curl -sf -m 30 -K - -X DELETE -o /dev/null "$control/v2/pods/$pod"
    else
      POD=$pod CONTROL=$control python3 -c 'import os, urllib.request as u
e = os.environ
h = {"Authorization": "Bearer " + e["RUNPOD_API_KEY"]}
u.urlopen(u.Request(e["CONTROL"] + "/v2/pods/" + e["POD"], headers=h, method="DELETE"), timeout=30)'
    fi
  }
  graphql() {
    command -v curl >/dev/null && printf 'header = "Authorization: Bearer %s"\n' "${RUNPOD_API_KEY:-}" \
      | curl -sf -m 30 -K - -H "Content-Type: application/json" "$control/graphql" \
        -d "{\"query\": \"mutation { $1(input: {podId: \\\"$pod\\\"})$2 }\"}" | grep -qv '"errors"'
  }
  delete() {
    rest || graphql podTerminate "" || runpodctl pod delete "$pod" || runpodctl remove pod "$pod" \
      || graphql podStop " { id }"
  }

  deadline_file=$workspace/.bizcharts-deadline-$pod
  deadline=$(cat "$deadline_file" 2>/dev/null)
  case $deadline in
    ''|*[!0-9]*) deadline=$(($(date +%s) + ${BIZCHARTS_TTL_SECONDS:-@TTL@})); echo "$deadline" > "$deadline_file" ;;
  esac
  (
    trap '' HUP
    left=$((deadline - $(date +%s)))
    [ "$left" -gt 0 ] && sleep "$left"
    tries=0
    until delete || [ "$tries" -ge 240 ]; do tries=$((tries + 1)); sleep 60; done
  ) </dev/null >/dev/null 2>&1 &
fi

[ -n "${BIZCHARTS_GUARD_ONLY:-}" ] && exit 0
[ -x /start.sh ] && exec /start.sh

export DEBIAN_FRONTEND=noninteractive
command -v sshd >/dev/null || { apt-get update && apt-get install -y openssh-server rsync; }
mkdir -p /run/sshd "$HOME/.ssh"
chmod 700 "$HOME/.ssh"
printf '%s\n' "${PUBLIC_KEY:-}" >> "$HOME/.ssh/authorized_keys"
chmod 600 "$HOME/.ssh/authorized_keys"
ssh-keygen -A
exec "$(command -v sshd)" -D -e
"""


def guard(ttl_seconds: int) -> str:
    """Return the start command of a pod that deletes itself after ``ttl_seconds``, whoever forgot it.

    It has no double quote and no line break, which the SDK does not escape: the script travels as base64. In the
    container ``BIZCHARTS_TTL_SECONDS`` goes before ``ttl_seconds``. The script writes ``.bizcharts-pod.json`` (readable
    by its owner) for the supervisor, then becomes the image's own ``/start.sh``, or an sshd where there is none.
    """
    script = _SCRIPT.replace("@TTL@", str(int(ttl_seconds)))
    return f"bash -c 'exec bash <(echo {base64.b64encode(script.encode()).decode()} | base64 -d)'"
