package rootexec

import (
	"path"
	"strings"

	"github.com/dtpnode/dtpnode/exec"
)

// CauseOf is exec.CauseOf.
var CauseOf = exec.CauseOf

// words are what ROOT's plugins print, lower case; the first that is found decides. They share no codes.
var words = []struct {
	text  string
	cause exec.Cause
}{
	{"tpluginhandler", exec.CauseProtocol},
	{"no such file", exec.CauseMissing},
	{"file not found", exec.CauseMissing},
	{"404 not found", exec.CauseMissing},
	{"does not exist", exec.CauseMissing},
	{"permission denied", exec.CauseDenied},
	{"not authorized", exec.CauseUnauthorised},
	{"unauthorized", exec.CauseUnauthorised},
	{"auth failed", exec.CauseUnauthorised},
	{"authentication", exec.CauseUnauthorised},
	{"forbidden", exec.CauseUnauthorised},
	{"connection refused", exec.CauseUnreachable},
	{"no route", exec.CauseUnreachable},
	{"unreachable", exec.CauseUnreachable},
	{"unknown host", exec.CauseUnreachable},
	{"could not resolve", exec.CauseUnreachable},
	{"not known", exec.CauseUnreachable},
	{"invalid address", exec.CauseUnreachable},
	{"timed out", exec.CauseUnreachable},
	{"timeout", exec.CauseUnreachable},
	{"operation expired", exec.CauseUnreachable},
	{"connection error", exec.CauseUnreachable},
	{"socket error", exec.CauseUnreachable},
	{"plugin", exec.CauseProtocol},
	{"protocol", exec.CauseProtocol},
}

// causeOf classifies what ROOT printed of a URL that it could not open.
func causeOf(msg, file string) exec.Cause {
	if strings.HasPrefix(msg, "TFile::TFile: ") && strings.Contains(msg, "does not exist") {
		return exec.CauseProtocol // ROOT takes a URL of a protocol that it does not know for the path of a local file
	}
	for _, own := range []string{file, path.Base(file)} { // a file may be called what it likes
		if own != "" {
			msg = strings.ReplaceAll(msg, own, "")
		}
	}
	msg = strings.ToLower(msg)
	for _, w := range words {
		if strings.Contains(msg, w.text) {
			return w.cause
		}
	}
	return ""
}

// noPlugin says that ROOT does not open a kind of URL, and what may be named instead: what ROOT itself prints of that
// tells of its own classes.
func noPlugin(url string) string {
	scheme, _, _ := strings.Cut(url, "://")
	other := "by a path, from a folder that is mounted"
	if scheme != "root" && scheme != "xroot" {
		other += ", or by a root:// URL"
	}
	return "this ROOT has no plugin that opens " + scheme + ":// URLs: name the file " + other
}
