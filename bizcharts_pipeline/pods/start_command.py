"""Start command of a container: arms a timer that terminates an abandoned pod, then starts as usual.

The timer needs no connection to be armed, so it also covers the minutes before anything else runs.
"""

import base64

GUARD_ONLY = "BIZCHARTS_GUARD_ONLY"  # set to anything: arm the timer and start nothing

# The key is in no argument list: printf is a shell builtin, and curl and python3 get it on stdin or in the environment.
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

  # Print the response to METHOD URL [BODY], with its status in the last line. Redirects are not followed.
  ask() {
    if command -v curl >/dev/null; then
      printf 'header = "Authorization: Bearer %s"\n' "${RUNPOD_API_KEY:-}" \
        | curl -s -m 30 --max-filesize 100000 -K - -H "Content-Type: application/json" -X "$1" \
          ${3:+--data "$3"} -w '\n%{http_code}' "$2"
    else
      METHOD=$1 URL=$2 BODY=${3:-} python3 -c 'import os, urllib.error, urllib.request as u
e = os.environ
class N(u.HTTPRedirectHandler):
    def redirect_request(self, *a): return None
h = {"Authorization": "Bearer " + e["RUNPOD_API_KEY"], "Content-Type": "application/json"}
r = u.Request(e["URL"], headers=h, method=e["METHOD"], data=e["BODY"].encode() or None)
try: a = u.build_opener(N).open(r, timeout=30)
except urllib.error.HTTPError as x: a = x
print(a.read(100000).decode(errors="replace") + "\n" + str(a.status))'
    fi
  }
  # The API's responses are empty or JSON objects; a page is from a proxy.
  said() {
    answer=$(ask "$@") || return 1
    code=${answer##*$'\n'}
    body=$(printf '%s' "${answer%$'\n'*}" | tr -d ' \t\r\n')
    case $body in ''|'{'*'}') return 0 ;; *) return 1 ;; esac
  }
  accepted() {
    said "$@" || return 1
    case $code in 200|202|204) ;; *) return 1 ;; esac
    case $body in *'"errors":['*|*'"errors":{'*|*'"error":"'*|*'"error":{'*) return 1 ;; esac
  }
  gone() {
    said GET "$control/v2/pods/$pod" || return 1
    [ "$code" = 404 ] && return 0
    [ "$code" = 200 ] || return 1
    case $body in *'tatus":"TERMINATED"'*) return 0 ;; *) return 1 ;; esac
  }
  graphql() {
    accepted POST "$control/graphql" "{\"query\": \"mutation { $1(input: {podId: \\\"$pod\\\"})$2 }\"}"
  }
  # If a request was accepted but did not delete the pod, the next method is tried.
  delete() {
    accepted DELETE "$control/v2/pods/$pod"; gone && return 0
    graphql podTerminate ""; gone && return 0
    if command -v runpodctl >/dev/null; then
      timeout 60 runpodctl pod delete "$pod" || timeout 60 runpodctl remove pod "$pod"
      gone && return 0
    fi
    graphql podStop " { id }"
    return 1
  }
  # Only in the pod's own container: kill all processes except this one and the first, then the first.
  end_processes() {
    tr '\0' '\n' < /proc/1/environ 2>/dev/null | grep -qxF "RUNPOD_POD_ID=$pod" || return 0
    for entry in /proc/[0-9]*; do
      id=${entry#/proc/}
      [ "$id" = 1 ] || [ "$id" = "$BASHPID" ] || kill -9 "$id" 2>/dev/null
    done
    kill -15 1
  }
  end_pod() {
    tries=0
    until delete; do
      tries=$((tries + 1))
      [ "$tries" -ge ${BIZCHARTS_GUARD_TRIES:-30} ] && end_processes
      sleep ${BIZCHARTS_GUARD_PAUSE:-60}
    done
  }

  # Time is measured since the host's boot, as the wall clock may be set. After a reboot, only the wall clock is left.
  boot=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null || echo none)
  uptime=$(cut -d. -f1 /proc/uptime 2>/dev/null || date +%s)
  ttl=${BIZCHARTS_TTL_SECONDS:-@TTL@}
  deadline_file=$workspace/.bizcharts-deadline-$pod
  until_wall='' until_boot='' until_uptime=''
  [ -f "$deadline_file" ] && read -r until_wall until_boot until_uptime < "$deadline_file"
  case $until_wall$until_uptime in
    ''|*[!0-9]*)
      until_wall=$(($(date +%s) + ttl)) until_boot=$boot until_uptime=$((uptime + ttl))
      echo "$until_wall $until_boot $until_uptime" > "$deadline_file" ;;
  esac
  if [ "$until_boot" = "$boot" ]; then left=$((until_uptime - uptime)); else left=$((until_wall - $(date +%s))); fi
  [ "$left" -le "$ttl" ] || left=$ttl
  (
    trap '' HUP
    [ "$left" -gt 0 ] && sleep "$left"
    end_pod
  ) </dev/null >/dev/null 2>&1 &
  guard=$!
fi

[ -n "${BIZCHARTS_GUARD_ONLY:-}" ] && exit 0
# A container that restarts after its time limit only terminates itself.
[ -n "$pod" ] && [ "$left" -le 0 ] && wait "$guard"
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
    """Return the start command of a pod that deletes itself after ``ttl_seconds``.

    It has no double quote and no line break, which the SDK does not escape: the script is base64-encoded. In the
    container, ``BIZCHARTS_TTL_SECONDS`` overrides ``ttl_seconds``. The script writes ``.bizcharts-pod.json`` (readable
    by its owner) for the supervisor, then becomes the image's own ``/start.sh``, or an sshd if there is none.
    """
    script = _SCRIPT.replace("@TTL@", str(int(ttl_seconds)))
    return f"bash -c 'exec bash <(echo {base64.b64encode(script.encode()).decode()} | base64 -d)'"
