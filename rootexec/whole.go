package rootexec

import "strings"

// Code that leaves out the rest of a file by Abort(kAbortFile) gives the same result each time only if each file is
// read in order. So files are not divided for code that names it.

// mayAbortFiles reports whether one of the sources names kAbortFile outside of comments and texts.
func mayAbortFiles(src Source) bool {
	for name, text := range src.Files {
		if isCode(name) && hasWord(codeOf(string(text)), "kAbortFile") {
			return true
		}
	}
	return false
}

// hasWord reports whether word stands in text as a word of its own.
func hasWord(text, word string) bool {
	for {
		before, after, found := strings.Cut(text, word)
		if !found {
			return false
		}
		if (before == "" || !isWordByte(before[len(before)-1])) && (after == "" || !isWordByte(after[0])) {
			return true
		}
		text = after
	}
}

func isWordByte(b byte) bool {
	return b == '_' || '0' <= b && b <= '9' || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z'
}

// codeOf is the text of a C++ source with a space for each comment and each literal of text. It takes no notice of raw
// literals, in which it may see code that is none: then a file is not divided that could be.
func codeOf(src string) string { return textOf(src, false) }

// textOf is codeOf with or without the literals.
func textOf(src string, literals bool) string {
	var out strings.Builder
	for i := 0; i < len(src); {
		rest := src[i:]
		switch {
		case strings.HasPrefix(rest, "//"):
			i += lineEnd(rest)
			out.WriteByte(' ')
		case strings.HasPrefix(rest, "/*"):
			n := strings.Index(rest[2:], "*/")
			if n < 0 {
				return out.String()
			}
			i += n + 4
			out.WriteByte(' ')
		case strings.HasPrefix(rest, `'"'`), strings.HasPrefix(rest, `'\"'`):
			i += strings.IndexByte(rest[1:], '\'') + 2
			out.WriteByte(' ')
		case rest[0] == '"':
			n := literalEnd(rest)
			i += n
			if literals {
				out.WriteString(rest[:n])
			} else {
				out.WriteByte(' ')
			}
		default:
			out.WriteByte(rest[0])
			i++
		}
	}
	return out.String()
}

// lineEnd is where the line ends that text begins with; a backslash at its end continues it.
func lineEnd(text string) int {
	for i := range len(text) {
		if text[i] == '\n' && (i == 0 || text[i-1] != '\\') {
			return i
		}
	}
	return len(text)
}

// literalEnd is where the literal ends that text begins with, at the latest with its line.
func literalEnd(text string) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		case '\n':
			return i
		}
	}
	return len(text)
}
