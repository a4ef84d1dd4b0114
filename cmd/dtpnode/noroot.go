package main

import (
	"fmt"

	"github.com/dtpnode/dtpnode/cli/settings"
)

// The hints for a missing ROOT depend on who looked for it and where, and on whether one was named, which is then not
// replaced by another: every command in a hint must work as it is printed.

// noROOTHere is the hint for commands that take no settings.
const noROOTHere = "name yours with --root, or source its thisroot.sh; `dtpnode demo` without --root installs one"

// noROOT is the hint for the daemon of a host. root is what the daemon was told to use, and from is the source of that
// setting, empty for a flag, which the daemon remembers in its state folder. up says that the daemon runs.
func noROOT(state, root, from string, up bool) string {
	const install = "`dtpnode up --install-root --detach`"
	down := ""
	if up {
		down = "`dtpnode down`, then "
	}
	switch {
	case root == "":
		return down + install + " installs one and starts the daemon; if there is one, `dtpnode up --root DIR --detach` " +
			"names it"
	case from == settings.Environment:
		return fmt.Sprintf("unset %s, then %s%s takes one that it finds or installs one", settings.Variable("root"), down,
			install)
	case from != "" && from != settings.File(state):
		return fmt.Sprintf("correct root in %s, or take it out: then %s%s takes one that it finds or installs one", from,
			down, install)
	}
	return fmt.Sprintf("%s`dtpnode up --root DIR --detach` names another; or %[1]s`dtpnode config unset root` forgets "+
		"it, and %s takes one that it finds or installs one", down, install)
}

// noROOTForRun is the hint for a run that starts its own node.
func noROOTForRun(root string) string {
	if root == "" {
		return "`dtpnode run --install-root` with the same arguments installs one; or name yours with --root, or source " +
			"its thisroot.sh"
	}
	return "name another with --root; or leave that out, and the setting root (`dtpnode config show` says where it " +
		"stands, `dtpnode config unset root` forgets it): " +
		"then `dtpnode run --install-root` takes one that it finds or installs one"
}

// otherROOTForRun is the hint for a run that starts its own node, which lacks the version of ROOT that is asked for.
const otherROOTForRun = "name the folder of that version with `dtpnode run --root DIR`, or start a daemon that has " +
	"it, `dtpnode up --root DIR --detach`"
