// Package version names the version of this binary.
package version

import "runtime/debug"

// stamp is set by the linker: -X github.com/dtpnode/dtpnode/internal/version.stamp=v1.2.3
var stamp string

// String is the stamped version, else what the go command recorded: the module's version, or the commit, with + if
// there were uncommitted changes.
func String() string {
	if stamp != "" {
		return stamp
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	return commit(info.Settings)
}

func commit(settings []debug.BuildSetting) string {
	text := "devel"
	for _, s := range settings {
		switch {
		case s.Key == "vcs.revision":
			text += "-" + s.Value[:min(len(s.Value), 12)]
		case s.Key == "vcs.modified" && s.Value == "true":
			text += "+"
		}
	}
	return text
}
