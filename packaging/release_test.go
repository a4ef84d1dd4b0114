package packaging

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	rpmutils "github.com/sassoftware/go-rpmutils"

	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// TestRelease makes the archives and packages of this platform, inspects them, and installs and removes those of this
// host's package manager.
func TestRelease(t *testing.T) {
	dist := filepath.Join(t.TempDir(), "dist")
	command(t, []string{"ARCHES=" + runtime.GOARCH}, "make", "release", "DIST="+dist)
	archive, deb, rpm := only(t, dist, "*-linux-"+runtime.GOARCH+".tar.gz"), only(t, dist, "*.deb"), only(t, dist, "*.rpm")
	t.Run("checksums", func(t *testing.T) {
		cmd := exec.Command("sha256sum", "-c", "--strict", "SHA256SUMS")
		cmd.Dir = dist
		if out, err := cmd.CombinedOutput(); err != nil || strings.Count(string(out), ": OK") != 3 {
			t.Errorf("%v: %s", err, out)
		}
	})
	t.Run("again", func(t *testing.T) { // in another folder, with another date
		roottest.Long(t)
		again := filepath.Join(t.TempDir(), "elsewhere")
		command(t, []string{"ARCHES=" + runtime.GOARCH, "TZ=Asia/Tokyo", "TMPDIR=" + t.TempDir()}, "make", "release",
			"DIST="+again)
		first, _ := os.ReadFile(filepath.Join(dist, "SHA256SUMS"))
		second, _ := os.ReadFile(filepath.Join(again, "SHA256SUMS"))
		if len(first) == 0 || string(first) != string(second) {
			t.Errorf("the same commit made other files:\n%s%s", first, second)
		}
	})
	t.Run("archive", func(t *testing.T) { testArchive(t, archive) })
	t.Run("rpm", func(t *testing.T) { testRPM(t, rpm, archive) })
	t.Run("Debian", func(t *testing.T) { testDebian(t, deb) })
}

// only returns the one file that matches a pattern.
func only(t *testing.T, dir, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s matches %q: %v", pattern, found, err)
	}
	return found[0]
}

func testArchive(t *testing.T, archive string) {
	dir := t.TempDir()
	command(t, nil, "tar", "-xzf", archive, "-C", dir, "--strip-components=1")
	checkInstalled(t, dir, filesBelow(t, dir))
	if _, err := os.Stat(filepath.Join(dir, "etc", "dtpnode.toml")); err != nil {
		t.Error(err)
	}
}

// contents returns the SHA-256 of the files in an archive, by their paths in a package.
func contents(t *testing.T, archive string) map[string]string {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]string{}
	for r := tar.NewReader(zip); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return sums
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, r); err != nil {
			t.Fatal(err)
		}
		_, name, _ := strings.Cut(h.Name, "/")
		if !strings.HasPrefix(name, "etc/") {
			name = "usr/" + name
		}
		sums["/"+name] = hex.EncodeToString(sum.Sum(nil))
	}
}

// testRPM compares what is in the package with the archive: the same files, owned by root, and the settings marked as
// such.
func testRPM(t *testing.T, file, archive string) {
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	pkg, err := rpmutils.ReadRpm(f)
	if err != nil {
		t.Fatal(err)
	}
	files, err := pkg.Header.GetFiles()
	if err != nil {
		t.Fatal(err)
	}
	const configuration, noReplace, typeMask, directory = 1 << 0, 1 << 4, 0o170000, 0o040000
	got := map[string]string{}
	for _, f := range files {
		if f.UserName() != "root" || f.GroupName() != "root" || f.Mode()&0o022 != 0 {
			t.Errorf("%s belongs to %s:%s, mode %o", f.Name(), f.UserName(), f.GroupName(), f.Mode())
		}
		if is := f.Flags()&(configuration|noReplace) == configuration|noReplace; is != (f.Name() == "/etc/dtpnode.toml") {
			t.Errorf("%s is a file of settings: %v", f.Name(), is)
		}
		if f.Mode()&typeMask != directory {
			got[f.Name()] = f.Digest()
		}
	}
	want := contents(t, archive)
	for _, name := range slices.Sorted(maps.Keys(want)) {
		unit := strings.HasSuffix(name, ".service") // units contain the path of the binary
		if got[name] == "" || got[name] != want[name] && !unit {
			t.Errorf("%s has the digest %q in the package, %q in the archive", name, got[name], want[name])
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("only in the package: %v", got)
	}
	if _, err := exec.LookPath("rpm"); err != nil {
		t.Log("NOT TESTED here: installing the .rpm; there is no rpm")
	}
}

// testDebian installs the package on this host and removes it, as apt does it for an administrator.
func testDebian(t *testing.T, deb string) {
	if _, err := exec.LookPath("apt-get"); err != nil || os.Getuid() != 0 {
		t.Skip("NOT TESTED here: installing the .deb; that takes root on Debian")
	}
	settings := "/etc/dtpnode.toml"
	if _, err := os.Lstat(settings); err == nil || exec.Command("dpkg", "-s", "dtpnode").Run() == nil {
		t.Skip("NOT TESTED here: installing the .deb; dtpnode is installed on this host already, and stays")
	}
	apt := func(args ...string) string {
		t.Helper()
		// Other processes may use apt at the same time, so this waits for their lock.
		return command(t, []string{"DEBIAN_FRONTEND=noninteractive"}, "apt-get",
			append([]string{"-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"}, args...)...)
	}
	t.Cleanup(func() { _ = exec.Command("apt-get", "-y", "-o", "DPkg::Lock::Timeout=300", "purge", "dtpnode").Run() })
	apt("install", deb)
	installed := packaged(t)
	var below []string
	for _, f := range installed {
		if rel, ok := strings.CutPrefix(f, "/usr/"); ok {
			below = append(below, rel)
		}
	}
	checkInstalled(t, "/usr", below)
	checkUnits(t, "/usr")
	if !slices.Contains(below, "share/zsh/vendor-completions/_dtpnode") {
		t.Error("the completion for zsh is not where Debian's zsh looks")
	}
	if out := command(t, nil, "dpkg-query", "-W", "-f", "${Conffiles}", "dtpnode"); !strings.Contains(out, settings) {
		t.Errorf("the settings are no conffile: %s", out)
	}
	change := "# changed by an administrator\n"
	if err := os.WriteFile(settings, []byte(change), 0o644); err != nil {
		t.Fatal(err)
	}
	apt("remove", "dtpnode")
	if left := remaining(installed); !slices.Equal(left, []string{settings}) {
		t.Errorf("left after apt remove: %q, want the settings alone", left)
	}
	apt("install", deb)
	if text, err := os.ReadFile(settings); string(text) != change {
		t.Errorf("the settings are %q now, %v", text, err)
	}
	apt("purge", "dtpnode")
	if left := remaining(installed); len(left) > 0 {
		t.Errorf("left after apt purge: %q", left)
	}
}

// packaged are the files of the package that is installed, and the folders that are its own.
func packaged(t *testing.T) (files []string) {
	t.Helper()
	for _, name := range strings.Fields(command(t, nil, "dpkg", "-L", "dtpnode")) {
		info, err := os.Lstat(name)
		if err != nil {
			t.Errorf("%s is not there: %v", name, err)
			continue
		}
		if !info.IsDir() || path.Base(name) == "dtpnode" {
			files = append(files, name)
		}
	}
	return files
}

// remaining returns those of the files that still exist.
func remaining(files []string) []string {
	return slices.DeleteFunc(slices.Clone(files), func(name string) bool {
		_, err := os.Lstat(name)
		return errors.Is(err, fs.ErrNotExist)
	})
}
