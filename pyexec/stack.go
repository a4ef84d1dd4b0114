package pyexec

import "strings"

// userStack is what Python's faulthandler has written when a process crashed, in the user's code: the innermost call
// comes first, and the child's own calls, of files in its folder, are left out with all that is not a call.
func userStack(text, child string) string {
	var out []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, `File "`+child) && len(out) > 0 {
			break
		}
		if strings.HasPrefix(line, "File ") || line == "..." {
			out = append(out, line)
		}
	}
	if len(out) == 0 {
		return strings.TrimSpace(text)
	}
	return strings.Join(out, "\n")
}
