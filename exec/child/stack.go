package child

import (
	"fmt"
	osexec "os/exec"
	"path/filepath"
	"strings"
)

// tidyStack drops the frames of the crash handler itself and of the program exe, finds the lines of the source where a
// library was compiled with -g, and demangles the names where the host has c++filt.
func tidyStack(s, exe string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		// The first frame in libc is where the kernel delivered the signal.
		if strings.Contains(l, "libc.so") && i < 3 {
			lines = lines[i+1:]
			break
		}
	}
	for i, l := range lines {
		if strings.Contains(l, filepath.Base(exe)+"(") { // from here on it is how we came to user code
			lines = lines[:i]
			break
		}
	}
	s = strings.Join(lines, "\n")
	if s == "" {
		return ""
	}
	cmd := osexec.Command("c++filt")
	s = unwrapSymbols(s)
	cmd.Stdin = strings.NewReader(s)
	if out, err := cmd.Output(); err == nil {
		s = string(out)
	}
	return strings.TrimSpace(s)
}

// unwrapSymbols turns "lib.so(_ZSym+0x1)[0x2]" into "_ZSym +0x1 in lib.so", which c++filt can read, or into "_ZSym at
// code.cc:7 in lib.so" where the line is known.
func unwrapSymbols(s string) string {
	var out strings.Builder
	lines := newLineFinder()
	for i, l := range strings.Split(s, "\n") {
		open, end := strings.LastIndexByte(l, '('), strings.LastIndexByte(l, ')')
		if open < 0 || end < open {
			out.WriteString(l + "\n")
			continue
		}
		path := l[:open]
		lib := path[strings.LastIndexByte(path, '/')+1:]
		sym, off, _ := strings.Cut(l[open+1:end], "+")
		// All frames but the first are where a call returns to, which may be the next line.
		where := lines.find(path, sym, off, i > 0)
		if sym == "" {
			sym = "?"
		}
		if where != "" {
			fmt.Fprintf(&out, "%s at %s in %s\n", sym, where, lib)
			continue
		}
		fmt.Fprintf(&out, "%s +%s in %s\n", sym, off, lib)
	}
	return out.String()
}
