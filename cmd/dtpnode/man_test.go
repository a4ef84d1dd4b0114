package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestMan: each command has a well-formed page with the sections of man-pages(7) in order, and the pages do not depend
// on the day and host on which they are made.
func TestMan(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	dir := filepath.Join(t.TempDir(), "new", "man1")
	if got := dtpnode(t, t.TempDir(), t.TempDir(), "man", dir); got.code != exitDone {
		t.Fatalf("%+v", got)
	}
	var pages []string
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		pages = append(pages, pageName(cmd))
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() {
				visit(c)
			}
		}
	}
	root := newRoot(&globals{})
	root.InitDefaultCompletionCmd()
	visit(root)
	for _, name := range pages {
		text, err := os.ReadFile(filepath.Join(dir, name+".1"))
		if err != nil {
			t.Error(err)
			continue
		}
		wellFormed(t, name, string(text))
		if !strings.Contains(string(text), "Nov 2023") {
			t.Errorf("%s.1 has another date than it was told", name)
		}
	}
	formatted(t, dir, pages)
	run, _ := os.ReadFile(filepath.Join(dir, "dtpnode-run.1"))
	for _, want := range []string{"'data/*.root'", ".SH EXIT STATUS", "\\fB130\\fP",
		"interrupted: cancelled, or detached by Ctrl-C", ".SH FILES", "dtpnode.log", "DTPNODE\\_STATE",
		"dtpnode run DiMuon.C+"} {
		if !strings.Contains(string(run), want) && !strings.Contains(string(run), strings.ReplaceAll(want, `\_`, "_")) {
			t.Errorf("dtpnode-run.1 does not have %q", want)
		}
	}
}

// known are the roff requests that the pages use.
var known = regexp.MustCompile(`^\.(TH|SH|PP|TP|IP|RS|RE|EX|EE|nf|fi|nh)( |$)`)

func wellFormed(t *testing.T, name, text string) {
	t.Helper()
	var sections []string
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, ".") && !known.MatchString(line) {
			t.Errorf("%s.1: %q is no request of a manual page", name, line)
		}
		if title, ok := strings.CutPrefix(line, ".SH "); ok {
			sections = append(sections, title)
		}
	}
	order := []string{"NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "OPTIONS INHERITED FROM PARENT COMMANDS",
		"EXIT STATUS", "ENVIRONMENT", "FILES", "EXAMPLE", "SEE ALSO"}
	want := slices.DeleteFunc(slices.Clone(order), func(s string) bool {
		switch s {
		case "OPTIONS INHERITED FROM PARENT COMMANDS":
			return name == "dtpnode"
		case "EXAMPLE":
			return name == "dtpnode" || strings.HasPrefix(name, "dtpnode-completion")
		case "EXIT STATUS":
			return strings.HasPrefix(name, "dtpnode-completion")
		}
		return false
	})
	if !slices.Equal(sections, want) {
		t.Errorf("%s.1 has the sections %q, want %q", name, sections, want)
	}
}

// formatted checks pages with the system's own programs, if it has them.
func formatted(t *testing.T, dir string, pages []string) {
	t.Helper()
	man, err := exec.LookPath("man")
	if err != nil {
		t.Log("NOT TESTED here: man formats the pages; there is no man")
		return
	}
	for _, name := range pages {
		cmd := exec.Command(man, "--warnings", "-E", "UTF-8", "-l", "-Tutf8", filepath.Join(dir, name+".1"))
		cmd.Env = append(os.Environ(), "MANROFFSEQ=", "MANWIDTH=100", "LC_ALL=C.UTF-8")
		var out, warnings bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &warnings
		if err := cmd.Run(); err != nil || warnings.Len() > 0 ||
			!strings.Contains(out.String(), strings.ToUpper(name)+"(1)") {
			t.Errorf("man -l %s.1: %v: %s%s", name, err, &warnings, &out)
		}
	}
}

// TestCompletionScripts: each shell that is installed reads its script without an error.
func TestCompletionScripts(t *testing.T) {
	for shell, says := range map[string]string{
		"bash": "complete -o default -F __start_dtpnode dtpnode",
		"zsh":  "#compdef dtpnode",
		"fish": "complete -c dtpnode",
	} {
		got := dtpnode(t, t.TempDir(), t.TempDir(), "completion", shell)
		if got.code != exitDone || got.stderr != "" || !strings.Contains(got.stdout, says) {
			t.Errorf("%s: exit %d, %s: no %q in %d bytes", shell, got.code, got.stderr, says, len(got.stdout))
		}
		path, err := exec.LookPath(shell)
		if err != nil {
			t.Logf("NOT TESTED here: %s reads its script; there is no %s", shell, shell)
			continue
		}
		cmd := exec.Command(path, "-n")
		cmd.Stdin = strings.NewReader(got.stdout)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s -n: %v: %s", shell, err, out)
		}
	}
}

// TestBashCompletes: a real bash completes command lines with the script, without the package bash-completion.
func TestBashCompletes(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("NOT TESTED: there is no bash")
	}
	d := startDaemon(t)
	dir := t.TempDir()
	for line, want := range map[string]string{
		"dtpnode doct":              "doctor",
		"dtpnode ps --outp":         "--output",
		"dtpnode ps --output=j":     "json",
		"dtpnode ps --output  t":    "text",
		"dtpnode config set slo":    "slots",
		"dtpnode invite --rights w": "worker",
		"dtpnode revoke sec":        "second",
		"dtpnode revoke nobody:x":   "",
	} {
		script := `source <(dtpnode completion bash)
compopt() { :; }
read -ra words <<<"${LINE//=/ = }"
[[ $LINE == *:* ]] && words=(dtpnode revoke nobody : x)
COMP_LINE=$LINE COMP_POINT=${#LINE} COMP_TYPE=9 COMP_KEY=9 COMP_WORDS=("${words[@]}") COMP_CWORD=$((${#words[@]} - 1))
__start_dtpnode && printf '%s' "${COMPREPLY[0]%% *}"`
		cmd := command(t, dir, d.state)
		cmd.Path, cmd.Args = bash, []string{"bash", "--norc", "--noprofile", "-c", script}
		cmd.Env = append(cmd.Env, "LINE="+line, "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, _ := cmd.Output()
		if string(out) != want || stderr.Len() > 0 {
			t.Errorf("%q is completed by %q, want %q: %s", line, out, want, &stderr)
		}
	}
}

// TestHelpAsMarkdown: indented lines stay as they are, and no character becomes markup.
func TestHelpAsMarkdown(t *testing.T) {
	for help, want := range map[string]string{
		"a *b* `c*` d_e\n":      "a \\*b\\* `c*` d\\_e\n",
		"a:\n  x *\n\n  y\nz\n": "a:\n\n      x *\n\n      y\n\nz\n",
		"#### Linux:\n":         "\\#\\#\\#\\# Linux:\n",
	} {
		if got := markdown(help); got != want {
			t.Errorf("%q: got %q, want %q", help, got, want)
		}
	}
	text, exits := splitExits("x\n\nExit status: 0 done, or what; 1 error (of\nany kind); 3 a, b.")
	if text != "x" || !slices.Equal(exits, [][2]string{
		{"0", "done, or what"},
		{"1", "error (of any kind)"},
		{"3", "a, b"},
	}) {
		t.Errorf("%q, %q", text, exits)
	}
}
