package runtimes

import (
	"encoding/json"
	"slices"
	"strings"
	"unicode"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/tasks"
)

// Told is a runtime as others are told of it.
type Told struct {
	exec.Info
	Problem string // why it cannot be used; empty if it can, as far as is known
}

// Told are the runtimes that were found, the best first.
func (s *Set) Told() []Told {
	out := make([]Told, len(s.all))
	for i, h := range s.all {
		out[i].Info = h.Info
		if err := h.Broken(); err != nil {
			out[i].Problem = err.Error()
		}
	}
	return out
}

// Able are those of told that can be used.
func Able(told []Told) (infos []exec.Info) {
	for _, t := range told {
		if t.Problem == "" {
			infos = append(infos, t.Info)
		}
	}
	return infos
}

// offered is one runtime as members are told of it.
type offered struct {
	Kind         string   `json:"k"`
	Version      string   `json:"v"`
	Capabilities []string `json:"c,omitempty"`
	Problem      string   `json:"b,omitempty"`
}

const (
	maxOffered = 16  // runtimes that another member is believed to have
	maxProblem = 200 // bytes of what is told of one that is broken
)

// Announce encodes what other members are told, in at most so many bytes: the first runtimes, as many as there is room
// for.
func Announce(told []Told, most int) string {
	var out []offered
	text := ""
	for _, t := range told[:min(len(told), maxOffered)] {
		out = append(out, offered{t.Kind, t.Version, t.Capabilities, brief(t.Problem)})
		b, err := json.Marshal(out)
		if err != nil || len(b) > most {
			break
		}
		text = string(b)
	}
	return text
}

// brief is the first line of a text, as much of it as others are told.
func brief(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	line = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, line)
	if len(line) <= maxProblem {
		return line
	}
	const dots = "…"
	return strings.ToValidUTF8(line[:maxProblem-len(dots)], "") + dots
}

// Announced decodes what a member tells of its runtimes. What cannot be is left out.
func Announced(text string) (told []Told) {
	var in []offered
	if text == "" || json.Unmarshal([]byte(text), &in) != nil {
		return nil
	}
	for _, o := range in[:min(len(in), maxOffered)] {
		if o.Kind == "" || len(o.Kind) > tasks.MaxKind || len(o.Version) > tasks.MaxNeed ||
			len(o.Capabilities) > tasks.MaxNeeds || len(o.Problem) > maxProblem {
			continue
		}
		if !printable(append([]string{o.Kind, o.Version, o.Problem}, o.Capabilities...)) {
			continue // a terminal or a log is not to be confused
		}
		info := exec.Info{Kind: o.Kind, Version: o.Version, Capabilities: o.Capabilities}
		told = append(told, Told{Info: info, Problem: o.Problem})
	}
	return told
}

func printable(words []string) bool {
	return !slices.ContainsFunc(words, func(w string) bool {
		return strings.ContainsFunc(w, func(r rune) bool { return !unicode.IsPrint(r) })
	})
}

// Offers are what runtimes offer that can be used, as jobs' needs are compared with it.
func Offers(told []Told) (out []tasks.Offer) {
	for _, info := range Able(told) {
		out = append(out, info.Offer())
	}
	return out
}

// Meet reports whether one of the runtimes that can be used can work for a job with these needs.
func Meet(told []Told, needs []string) bool {
	return slices.ContainsFunc(Able(told), func(info exec.Info) bool { return info.Offer().Meets(needs) })
}
