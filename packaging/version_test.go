package packaging

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestVersions: a later commit makes a newer package, with or without a tag, whatever the hashes are.
func TestVersions(t *testing.T) {
	script, err := filepath.Abs("version.sh")
	if err != nil {
		t.Fatal(err)
	}
	repo := t.TempDir()
	run := func(env []string, name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = repo
		cmd.Env = append(append(os.Environ(), "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a",
			"GIT_COMMITTER_EMAIL=a@b"), env...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %q: %v\n%s", name, args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	run(nil, "git", "init", "-q")
	var versions []string
	for day, stamp := range []string{"ffff111", "0000222", "9999333-dirty", "v0.1.0-rc1", "v0.1.0", "v0.1.0-2-g0000444",
		"v0.1.0-10-g0000555"} {
		date := fmt.Sprintf("2026-01-%02dT12:00:00+0900", day+1)
		run([]string{"GIT_COMMITTER_DATE=" + date}, "git", "commit", "-q", "--allow-empty", "-m", "a change")
		versions = append(versions, run(nil, script, stamp))
	}
	if want := "0.0.0+20260101030000.ffff111"; versions[0] != want {
		t.Errorf("got %s, want %s", versions[0], want)
	}
	if _, err := exec.LookPath("dpkg"); err != nil {
		t.Skip("NOT TESTED here: how a package manager sorts versions; there is no dpkg")
	}
	for i := range versions[1:] {
		if err := exec.CommandContext(t.Context(), "dpkg", "--compare-versions", versions[i], "lt",
			versions[i+1]).Run(); err != nil {
			t.Errorf("%s is not older than %s", versions[i], versions[i+1])
		}
	}
}
