package main

import (
	"fmt"

	"github.com/dtpnode/dtpnode/cli/settings"
)

// samePythons is what a user of several hosts is to know of Pythons.
const samePythons = "; each node that is to take part needs the minor version of the one that submits: " +
	"`dtpnode members` lists them"

// noPython is the hint for the daemon of a host that has no Python which can be used. python is what the daemon was
// told to use, and from is the source of that setting, empty for a flag, which the daemon remembers in its state
// folder.
func noPython(state, python, from string) string {
	const names = "`dtpnode down`, then `dtpnode up --python FILE --detach` names an interpreter"
	switch {
	case python == "":
		return "install Python, 3.10 or newer, and start the daemon anew; if there is one, " + names
	case from == settings.Environment:
		return fmt.Sprintf("correct %s, or unset it; then `dtpnode down` and `dtpnode up --detach`",
			settings.Variable("python"))
	case from != "" && from != settings.File(state):
		return fmt.Sprintf("correct python in %s, or take it out; then `dtpnode down` and `dtpnode up --detach`", from)
	}
	return names + "; or `dtpnode config unset python` forgets the setting, and the next start takes one that it finds"
}

// noPythonForRun is the hint for a run that starts its own node.
func noPythonForRun(python string) string {
	if python == "" {
		return "install Python, 3.10 or newer; if there is one, `dtpnode config set python FILE` names it"
	}
	return "`dtpnode config set python FILE` names another interpreter, 3.10 or newer; `dtpnode config unset python` " +
		"forgets the setting, and one is taken that is found"
}

// otherPython is the hint for a job that needs another Python than the daemon's, and otherPythonForRun for one whose
// daemon was started by a program of the user's for its own time.
const (
	otherPython = "have a daemon offer it: `dtpnode down`, then `dtpnode up --python FILE --detach`, where FILE is a " +
		"Python of that version, or NAME=FILE for an environment; --python may be repeated"
	otherPythonForRun = "start a daemon that offers it, `dtpnode up --python FILE --detach`, where FILE is a Python of " +
		"that version, or NAME=FILE for an environment; --python may be repeated"
)
