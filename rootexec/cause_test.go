package rootexec

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/exec/child"

	"golang.org/x/sys/unix"
)

func TestCauseOfWords(t *testing.T) {
	for _, c := range []struct {
		errno     int
		msg, file string
		want      exec.Cause
	}{
		{int(unix.EIO), "no such file", "/a", ""},
		{0, "not a ROOT file: no such file", "/a", ""},
		{child.Unopened, "TNetXNGFile::Open: [FATAL] Connection error", "root://h:1//a.root", exec.CauseUnreachable},
		{child.Unopened, "TNetXNGFile::Open: [FATAL] Invalid address", "root://no.host//a.root", exec.CauseUnreachable},
		{child.Unopened, "TNetXNGFile::Open: [ERROR] Server responded with an error: [3011] No such file or directory",
			"root://h//a.root", exec.CauseMissing},
		{child.Unopened, "TNetXNGFile::Open: [FATAL] Auth failed", "root://h//a.root", exec.CauseUnauthorised},
		{child.Unopened, "TPluginHandler::SetupCallEnv: method ROOT::Deprecated::TWebFile not found in class " +
			"ROOT::Deprecated::TWebFile", "https://h/a.root", exec.CauseProtocol},
		{child.Unopened, "TFile::TFile: file /tmp/a.root does not exist", "foo://h/a.root", exec.CauseProtocol},
		{child.Unopened, "TNetXNGFile::Open: timeout_protocol.root is damaged", "root://h//timeout_protocol.root", ""},
	} {
		f := &exec.Failure{Kind: exec.KindOpen, File: c.file, Msg: c.msg}
		if explainOpen(f, c.errno); f.Host != c.want {
			t.Errorf("%d %q of %s: %q, want %q", c.errno, c.msg, c.file, f.Host, c.want)
		}
	}
}

// TestHostsCauses has ROOT fail to open what this host does not see, and files that are to blame themselves.
func TestHostsCauses(t *testing.T) {
	e := executor(t)
	t.Setenv("XRD_CONNECTIONRETRY", "1")
	good := makeData(t, "good.root", 100, 0)
	for _, c := range []struct {
		file string
		want exec.Cause
	}{
		{good + ".no", exec.CauseMissing},
		{filepath.Join(good, "below"), exec.CauseMissing},
		{"file://" + good + ".no", exec.CauseMissing},
		{"foo://bar/f.root", exec.CauseProtocol},
		{"https://127.0.0.1:1/f.root", exec.CauseProtocol},
		{filepath.Dir(good), ""},
		{damage(t, good, func([]byte) []byte { return []byte("no such file") }), ""},
		{damage(t, good, func(b []byte) []byte { return b[:len(b)*2/3] }), ""},
	} {
		_, err := e.Plan(t.Context(), c.file, "T", 0)
		if f := asFailure(err); f == nil || f.Kind != exec.KindOpen || f.Host != c.want {
			t.Errorf("%s: %v, cause %q, want %q", c.file, err, f.Host, c.want)
		} else if own := strings.Contains(f.Msg, "TPluginHandler") ||
			strings.Contains(f.Msg, "TFile::"); c.want == exec.CauseProtocol &&
			(own || !strings.Contains(f.Msg, "no plugin that opens ")) {
			t.Errorf("%s: %q", c.file, f.Msg)
		}
	}
	if err := os.Chmod(good, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Plan(t.Context(), good, "T", 0); os.Getuid() != 0 {
		if f := asFailure(err); f == nil || f.Host != exec.CauseDenied {
			t.Errorf("%v", err)
		}
	}
}
