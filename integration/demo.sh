#!/bin/sh
# Shows on real containers what oci-seccomp does: demo.sh BINARY
#
# A busybox container with a default profile and one more rule: mkdir fails
# with errno 77 ("File descriptor in bad state"), which no kernel would say of a
# mkdir by itself. Each row is a container that ran; the last column says
# whether it saw what was promised. Exits with 1 if one did not.
set -eu

binary=$(realpath "$1")
here=$(dirname "$(realpath "$0")")
PATH=$PATH:/usr/sbin:/sbin

[ "$(id -u)" = 0 ] || { echo "demo: containers need root here" >&2; exit 1; }
for tool in jq runc crun unshare; do
	command -v "$tool" >/dev/null || { echo "demo: $tool is missing; see make deps" >&2; exit 1; }
done

work=$(mktemp -d -t oci-seccomp-demo.XXXXXX)
name=$(basename "$work")
runtime=
failed=0

# Runtimes get a mount namespace of their own: crun refuses the hybrid cgroup
# layout, so its second hierarchy is hidden from it.
runtime() { # RUNTIME ARG…
	# shellcheck disable=SC2016 # expanded by the inner shell
	timeout --kill-after=5 30 unshare --mount --propagation=private sh -c '
		if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi
		root=$1 runtime=$2
		shift 2
		exec "$runtime" --root "$root/$runtime" "$@"' sh "$work" "$@"
}

clean() {
	for runtime in runc crun; do
		if [ -e "$work/$runtime/$name" ]; then
			runtime "$runtime" delete --force "$name" >/dev/null 2>&1 || :
		fi
	done
	rm -rf "$work"
}
trap clean EXIT
trap 'exit 130' INT TERM HUP

make_rootfs() {
	mkdir -p "$work/rootfs/bin" "$work/rootfs/dev" "$work/rootfs/proc" "$work/rootfs/tmp"
	chmod 1777 "$work/rootfs/tmp"
	cp "$(command -v busybox)" "$work/rootfs/bin/busybox"
	for applet in sh mkdir sed; do
		ln -s busybox "$work/rootfs/bin/$applet"
	done
	cp "$binary" "$work/rootfs/oci-seccomp"
	cp "$work/profile.json" "$work/rootfs/profile.json"
}

# The default profile, but mkdir has a rule of its own.
make_profile() {
	jq '["mkdir", "mkdirat"] as $denied
		| .syscalls |= map(.names -= $denied)
		| .syscalls |= [{ names: $denied, action: "SCMP_ACT_ERRNO", errnoRet: 77 }] + .' \
		"$here/../testdata/default.json" >"$work/profile.json"
}

# What the container does: says what it sees of itself, one KEY=VALUE a line.
# shellcheck disable=SC2016 # expanded in the container
workload='
sed -n "s/^\(Seccomp\|NoNewPrivs\):\t/\1=/p" /proc/1/status
if said=$(mkdir /tmp/a 2>&1); then echo "mkdir=works"; else echo "mkdir=${said##*: }"; fi
(sed -n "s/^Seccomp:\t/child=/p" /proc/self/status)'

make_config() { # NO_NEW_PRIVS UID
	jq -n --argjson nnp "$1" --argjson uid "$2" --arg workload "$workload" --arg root "$work/rootfs" --arg hookerr "$work/hook.err" '
		["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_KILL", "CAP_SETGID", "CAP_SETUID"] as $caps | {
			ociVersion: "1.0.2",
			process: {
				terminal: false, cwd: "/", env: ["PATH=/bin"],
				args: ["/bin/sh", "-c", $workload],
				user: { uid: $uid, gid: $uid },
				capabilities: { bounding: $caps, effective: $caps, permitted: $caps },
				noNewPrivileges: $nnp
			},
			root: { path: $root },
			mounts: [
				{ destination: "/proc", type: "proc", source: "proc" },
				{ destination: "/dev", type: "tmpfs", source: "tmpfs" }
			],
			annotations: { "run.oci.hooks.stderr": $hookerr },
			linux: { namespaces: ["pid", "network", "ipc", "uts", "mount"] | map({ type: . }) }
		}'
}

# The ways to a filter. Each is a change of the config.
way_none='.'
way_hook='.hooks.createRuntime = [{ path: $binary, args: ["oci-seccomp", "hook", "--profile", $profile] }]'
way_container='.hooks.createContainer = [{ path: $binary, args: ["oci-seccomp", "hook", "--profile", $profile] }]'
way_init='.process.args = ["/oci-seccomp", "init", "--profile", "/profile.json", "--"] + .process.args'
way_both='.linux.seccomp = $section[0]
	| .hooks.createRuntime = [{ path: $binary, args: ["oci-seccomp", "hook"] }]'

field() { # KEY: what the container said of it
	sed -n "s/^$1=//p" "$work/out" | tail -n 1
}

row() {
	printf '%-8s %-39s %-5s %-8s %-6s %-11s %-29s %s\n' "$@"
}

try() { # TITLE WAY NO_NEW_PRIVS UID
	if [ "$2" = "$way_none" ]; then
		filter=0 mkdir=works
	else
		filter=2 mkdir='File descriptor in bad state'
	fi
	case $3 in true) nnp=1 ;; *) nnp=0 ;; esac

	mkdir -p "$work/bundle"
	make_config "$3" "$4" | jq --arg binary "$binary" --arg profile "$work/profile.json" \
		--slurpfile section "$work/profile.json" "$2" >"$work/bundle/config.json"
	# Every container finds the same.
	rm -rf "$work/rootfs/tmp/a"
	# Where crun has a hook's stderr; runc shows it in its own.
	: >"$work/hook.err"
	status=0
	runtime "$runtime" run --bundle "$work/bundle" "$name" >"$work/out" 2>"$work/err" </dev/null || status=$?
	verdict=ok
	if [ "$status" != 0 ] || [ "$(field Seccomp)" != "$filter" ] || [ "$(field child)" != "$filter" ] ||
		[ "$(field NoNewPrivs)" != "$nnp" ] || [ "$(field mkdir)" != "$mkdir" ]; then
		verdict="NOT AS PROMISED (status $status)"
		failed=1
	fi
	row "$runtime" "$1" "$4" "$(field Seccomp)" "$(field child)" "$(field NoNewPrivs)" "$(field mkdir)" "$verdict"
	[ "$verdict" = ok ] || sed 's/^/      | /' "$work/err" "$work/hook.err"
}

make_profile
make_rootfs
cat <<'TEXT'
A busybox container, and a profile that makes mkdir fail with errno 77.
There is no linux.seccomp in config.json, so the runtime loads nothing, but for
the rows that name the runtime: there it and the hook both see the section.
SECCOMP is pid 1's and CHILD a child's: 0 is no filter, 2 is one. NONEWPRIVS is
what the config says. "File descriptor in bad state" is errno 77.

TEXT
row RUNTIME 'THE FILTER COMES BY' UID SECCOMP CHILD NONEWPRIVS 'mkdir /tmp/a' ''
for runtime in runc crun; do
	try 'nothing' "$way_none" false 0
	try 'hook at createRuntime' "$way_hook" false 0
	try 'hook at createRuntime' "$way_hook" false 1000
	try 'hook at createRuntime' "$way_hook" true 1000
	try 'hook at createContainer' "$way_container" false 0
	try 'hook at createContainer' "$way_container" true 1000
	try 'oci-seccomp init -- CMD, in the image' "$way_init" true 1000
	try 'the runtime, and hook at createRuntime' "$way_both" false 0
	try 'the runtime, and hook at createRuntime' "$way_both" true 1000
done
echo
if [ "$failed" != 0 ]; then
	echo 'Not every container saw what was promised.'
	exit 1
fi
echo 'Every container saw what was promised.'
