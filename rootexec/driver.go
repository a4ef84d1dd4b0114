package rootexec

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/exec/child"
)

// The roles of ROOT's processes, see the package comment.
var (
	rolePlanner    = child.Role{Name: "planner", GoesOn: true} // that a file is bad says nothing of the planner
	roleCompiler   = child.Role{Name: "compiler"}
	roleSelector   = child.Role{Name: "selector"}
	roleCheck      = child.Role{Name: "check"}
	roleGeneration = child.Role{Name: "generation"}
	roleMerger     = child.Role{Name: "merger"}
	roleClient     = child.Role{Name: "client"}
	roleViewer     = child.Role{Name: "viewer", GoesOn: true} // what cannot be shown once may be the next time
	roleCollector  = child.Role{Name: "collector"}
	roleInput      = child.Role{Name: "input"}
)

// phases are Phase of child/protocol.h, in its order.
var phases = []child.Phase{
	{Name: "idle"},
	{Name: "constructor", Code: true},
	{Name: "Begin", Code: true},
	{Name: "SlaveBegin", Code: true, Stage: exec.StageStart},
	{Name: "open", Opens: true},
	{Name: "Init", Stage: exec.StageInput},
	{Name: "Notify", Stage: exec.StageInput},
	{Name: "read"},
	{Name: "Process"},
	{Name: "SlaveTerminate", Code: true},
	{Name: "seal"},
	{Name: "merge"},
	{Name: "Terminate", Code: true, Stage: exec.StageEnd},
	{Name: "write"},
	{Name: "load", Code: true},
	{Name: "compile"},
	{Name: "plan"},
}

// driverConfig says how the child is driven.
func driverConfig(cfg *Config) child.Config {
	return child.Config{
		Name:     "the ROOT in " + cfg.Root.Dir,
		Exe:      cfg.Exe,
		Env:      childEnv(cfg.Root, os.Environ()),
		Dir:      cfg.Scratch,
		Log:      cfg.Log,
		Phases:   phases,
		NoMemory: []string{"std::bad_alloc"},
		Explain:  explainOpen,
	}
}

// explainOpen finds in what ROOT printed why it could not open a URL.
func explainOpen(f *exec.Failure, errno int) {
	if f.Kind != exec.KindOpen || errno != child.Unopened {
		return
	}
	if f.Host = causeOf(f.Msg, f.File); f.Host == exec.CauseProtocol {
		f.Msg = noPlugin(f.File)
	}
}

// childEnv is the environment of ROOT processes: the user's, but for this ROOT.
func childEnv(root *Root, env []string) []string {
	var out []string
	path := ""
	for _, v := range env {
		name, value, _ := strings.Cut(v, "=")
		switch name {
		case "PATH":
			path = value
		case "ROOTSYS":
			if same, _ := filepath.EvalSymlinks(value); same == root.Dir {
				out = append(out, v)
			}
		default:
			out = append(out, v)
		}
	}
	// ACLiC calls rootcling and root-config by name.
	return append(out, "PATH="+root.Bin+string(os.PathListSeparator)+path)
}
