package rootexec

import (
	"regexp"
	"strings"
)

// Code that adds up something of each file, such as the events that its makers have processed, does so in Init or
// Notify, which each process calls that reads a part of the file. It counts each file once only if none is divided.
// What is added to the output shows when the first entry is tried; what is added to a member, for SlaveTerminate to
// hand on, shows in the source alone.

// addsPerFile reports whether Init or Notify of one of the sources, or a function of theirs that these call, both reads
// an object of the file or counts its entries, and adds something up.
func addsPerFile(src Source) bool {
	var all strings.Builder
	for name, text := range src.Files {
		if !isData(name) {
			all.WriteString(codeOf(string(text)))
			all.WriteByte('\n')
		}
	}
	code := all.String()
	for _, name := range []string{"Init", "Notify"} {
		if text := calledBy(code, name); readsFile.MatchString(text) && addsUp.MatchString(text) {
			return true
		}
	}
	return false
}

var (
	// readsFile finds what is read of a file beside the entries of its tree.
	readsFile = regexp.MustCompile(`(->|\.)\s*(Get|GetObject|FindObjectAny|FindKey|FindKeyAny|ReadObj)\s*` +
		`(<[^;{}()]*>\s*)?\(|GetUserInfo\s*\(|GetEntries(Fast)?\s*\(`)
	// addsUp finds sums.
	addsUp = regexp.MustCompile(`\+=|(->|\.)\s*(Add|Fill|AddBinContent)\s*\(|(\w+)\s*=\s*[\w>.()-]+\s*\+`)
	// callOf finds names of functions that are called without an object, or with this.
	callOf = regexp.MustCompile(`(^|[^\w.>:]|this\s*->\s*)([A-Za-z_]\w*)\s*\(`)
)

// calledBy is the bodies of all functions of a name, and of those that they call, as far as they stand in code.
func calledBy(code, name string) string {
	const most = 200 // functions; a selector has some ten
	var out strings.Builder
	seen, next := map[string]bool{name: true}, []string{name}
	for _, word := range []string{"if", "for", "while", "switch", "catch"} {
		seen[word] = true // bodies of these are in the functions
	}
	for len(next) > 0 && len(seen) < most {
		body := bodiesOf(code, next[0])
		next = next[1:]
		out.WriteString(body)
		for _, call := range callOf.FindAllStringSubmatch(body, -1) {
			if !seen[call[2]] {
				seen[call[2]] = true
				next = append(next, call[2])
			}
		}
	}
	return out.String()
}

// bodiesOf is what stands between the outermost braces of the functions of a name.
func bodiesOf(code, name string) string {
	head := regexp.MustCompile(`\b` + regexp.QuoteMeta(name) +
		`\s*\([^;{}()]*\)\s*((const|noexcept|override|final)\s*)*\{`)
	var out strings.Builder
	for _, at := range head.FindAllStringIndex(code, -1) {
		depth := 1
		for i := at[1]; i < len(code); i++ {
			switch code[i] {
			case '{':
				depth++
			case '}':
				depth--
			}
			if depth == 0 {
				out.WriteString(code[at[1]:i])
				out.WriteByte('\n')
				break
			}
		}
	}
	return out.String()
}
