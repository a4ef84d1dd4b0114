package packaging

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// command runs a program in the repository's folder and returns what it printed.
func command(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// filesBelow lists what is in a folder but folders, by their paths in it.
func filesBelow(t *testing.T, dir string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			rel, bad := filepath.Rel(dir, path)
			files, err = append(files, rel), bad
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestMakeInstall: everything is installed, works from its place, and is removed again, except for settings that were
// changed.
func TestMakeInstall(t *testing.T) {
	top := t.TempDir()
	prefix, etc := filepath.Join(top, "usr"), filepath.Join(top, "etc")
	vars := []string{"BIN=" + filepath.Join(t.TempDir(), "dtpnode"), "PREFIX=" + prefix, "SYSCONFDIR=" + etc}
	command(t, nil, "make", append(vars, "install")...) // builds the binary first
	checkInstalled(t, prefix, filesBelow(t, prefix))
	checkUnits(t, prefix)
	settings := filepath.Join(etc, "dtpnode.toml")
	if err := os.WriteFile(settings, []byte("slots = 3\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	command(t, nil, "make", append(vars, "install")...) // over an existing installation
	if text, err := os.ReadFile(settings); string(text) != "slots = 3\n" {
		t.Errorf("the settings were overwritten: %q, %v", text, err)
	}
	if out := command(t, nil, "make", append(vars, "uninstall")...); !strings.Contains(out,
		"kept "+settings+", which was changed") {
		t.Errorf("uninstall does not say what it keeps: %s", out)
	}
	if left := filesBelow(t, top); !slices.Equal(left, []string{"etc/dtpnode.toml"}) {
		t.Errorf("left behind: %q", left)
	}
	if err := os.Remove(settings); err != nil {
		t.Fatal(err)
	}
	command(t, nil, "make", append(vars, "install", "uninstall")...)
	if left := filesBelow(t, top); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// TestMakeInstallRefuses: what could not be installed whole is refused before anything is written.
func TestMakeInstallRefuses(t *testing.T) {
	top := t.TempDir()
	for want, vars := range map[string][]string{
		"with spaces":           {"PREFIX=" + top + "/a b"},
		"want an absolute path": {"PREFIX=usr", "DESTDIR=" + top + "/"},
		"SYSCONFDIR is":         {"PREFIX=" + top, "SYSCONFDIR=etc"},
		"DESTDIR is":            {"PREFIX=/usr", "DESTDIR=" + top + "/a b"},
		`PREFIX is ""`:          {"PREFIX=", "DESTDIR=" + top + "/x"},
	} {
		cmd := exec.CommandContext(t.Context(), "make", append(vars, "BIN="+top+"/none", "install")...)
		cmd.Dir = ".."
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%q: want %q: %v %s", vars, want, err, out)
		}
	}
	if left := filesBelow(t, top); len(left) > 0 {
		t.Errorf("written: %q", left)
	}
}

// checkInstalled checks what is below a prefix such as /usr; files are those that belong to dtpnode.
func checkInstalled(t *testing.T, prefix string, files []string) {
	t.Helper()
	for _, want := range []string{
		"bin/dtpnode", "share/man/man1/dtpnode.1.gz", "share/man/man1/dtpnode-run.1.gz",
		"share/man/man1/dtpnode-config-set.1.gz",
		"share/bash-completion/completions/dtpnode", "share/fish/vendor_completions.d/dtpnode.fish",
		"lib/systemd/system/dtpnode@.service", "lib/systemd/user/dtpnode.service",
		"share/doc/dtpnode/README.md", "share/doc/dtpnode/json.md", "share/doc/dtpnode/proof.md",
		"share/doc/dtpnode/schema/ps.json",
		"share/doc/dtpnode/copyright", "share/doc/dtpnode/dtpnode.toml",
	} {
		if !slices.Contains(files, want) {
			t.Errorf("%s is not installed", filepath.Join(prefix, want))
		}
	}
	if !slices.ContainsFunc(files, func(f string) bool {
		return strings.HasPrefix(f, "share/zsh/") && strings.HasSuffix(f, "/_dtpnode")
	}) {
		t.Error("the completion for zsh is not installed")
	}
	if out := command(t, nil, filepath.Join(prefix, "bin", "dtpnode"), "--version"); !strings.HasPrefix(out, "dtpnode ") ||
		strings.HasPrefix(out, "dtpnode devel") {
		t.Errorf("dtpnode --version: %s", out)
	}
	if _, err := exec.LookPath("man"); err != nil {
		t.Log("NOT TESTED here: man finds the pages; there is no man")
	} else if out := command(t, []string{"MANPATH=" + filepath.Join(prefix, "share", "man")}, "man", "-w",
		"dtpnode-run"); !strings.Contains(out, prefix) {
		t.Errorf("man finds %s", out)
	}
	completes := `. "$0" && complete -p dtpnode`
	if out := command(t, nil, "bash", "-c", completes,
		filepath.Join(prefix, "share/bash-completion/completions/dtpnode")); !strings.Contains(out, "__start_dtpnode") {
		t.Errorf("bash completes by %s", out)
	}
}

// checkUnits has systemd read the units.
func checkUnits(t *testing.T, prefix string) {
	t.Helper()
	units := map[string]string{
		"--system": "lib/systemd/system/dtpnode@.service",
		"--user":   "lib/systemd/user/dtpnode.service",
	}
	for scope, unit := range units {
		path := filepath.Join(prefix, unit)
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text), "\nExecStart="+prefix+"/bin/dtpnode up\n") {
			t.Errorf("%s does not start the binary below %s: %v", path, prefix, err)
		}
		if _, err := exec.LookPath("systemd-analyze"); err != nil {
			t.Logf("NOT TESTED here: systemd reads %s; there is no systemd-analyze", path)
			continue
		}
		out := command(t, []string{"XDG_RUNTIME_DIR=" + t.TempDir()}, "systemd-analyze", scope, "--man=no", "verify", path)
		if strings.Contains(out, "dtpnode") {
			t.Errorf("systemd-analyze verify %s: %s", path, out)
		}
	}
}

// TestSettingsFile: the file for /etc changes nothing as it is shipped, each of its lines is a setting of `up`, and it
// has all settings.
func TestSettingsFile(t *testing.T) {
	text, err := os.ReadFile("dtpnode.toml")
	if err != nil {
		t.Fatal(err)
	}
	bin, home := filepath.Join(t.TempDir(), "dtpnode"), t.TempDir()
	command(t, nil, "go", "build", "-o", bin, "./cmd/dtpnode")
	file := filepath.Join(home, "dtpnode", "config.toml")
	if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	origins := func(text string) map[string]string {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out := command(t, []string{"XDG_CONFIG_HOME=" + home, "DTPNODE_STATE=" + t.TempDir()}, bin, "config", "show",
			"--output", "json")
		var all []struct{ Name, From string }
		if err := json.Unmarshal([]byte(out), &all); err != nil {
			t.Fatal(err)
		}
		from := map[string]string{}
		for _, s := range all {
			from[s.Name] = s.From
		}
		return from
	}
	for name, from := range origins(string(text)) {
		if from == file {
			t.Errorf("%s is set in a file that should change nothing", name)
		}
	}
	all := regexp.MustCompile(`(?m)^#([a-z-]+ = )`).ReplaceAllString(string(text), "$1")
	for name, from := range origins(all) {
		if from != file {
			t.Errorf("%s is not in dtpnode.toml", name)
		}
	}
}
