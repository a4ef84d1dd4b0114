package logging

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/dtpnode/dtpnode/node/api"
)

// style determines how a line begins.
type style struct {
	layout   string // layout of the time; empty for none
	colour   bool
	priority bool
}

// words is a handler for people, with lines such as "12:04:05 warn could not prepare job (job 3fa9, home bob): no space
// left on device". It shows members by the names that they had when they came up.
type words struct {
	out   *output
	level slog.Leveler
	style style
	attrs []slog.Attr // the logger's attributes; those of a record come after them
	group string      // prefix of the keys, with its dot
}

// output is what all handlers of a log share.
type output struct {
	mu    sync.Mutex
	w     io.Writer
	names map[string]string // names of members, by id
	apart map[string]string // names made unambiguous for display; nil until needed
}

func newWords(w io.Writer, level slog.Leveler, s style) *words {
	return &words{out: &output{w: w, names: map[string]string{}}, level: level, style: s}
}

// Enabled reports whether lines of a level are written.
func (h *words) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

// WithAttrs returns the handler of a logger whose records all have these attributes.
func (h *words) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	with.attrs = append([]slog.Attr{}, h.attrs...)
	for _, a := range attrs {
		with.attrs = append(with.attrs, slog.Attr{Key: h.group + a.Key, Value: a.Value})
	}
	return &with
}

// WithGroup returns the handler of a logger whose attributes get a prefix.
func (h *words) WithGroup(name string) slog.Handler {
	with := *h
	with.group += name + "."
	return &with
}

// Handle writes a line.
func (h *words) Handle(_ context.Context, r slog.Record) error {
	attrs := h.attrs[:len(h.attrs):len(h.attrs)]
	r.Attrs(func(a slog.Attr) bool {
		attrs = append(attrs, slog.Attr{Key: h.group + a.Key, Value: a.Value})
		return true
	})
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	h.out.meet(attrs)
	begin := h.begin(r)
	text := h.out.named(sentence(r.Message, attrs))
	// Output of a selector or ROOT may have several lines. Each becomes a line of this log.
	text = strings.ReplaceAll(text, "\n", "\n"+begin+"  ")
	_, err := io.WriteString(h.out.w, begin+text+"\n")
	return err
}

// begin is the beginning of a line: time and level, or the priority.
func (h *words) begin(r slog.Record) string {
	if h.style.priority {
		return fmt.Sprintf("<%d>", priority(r.Level))
	}
	level := strings.ToLower(r.Level.String())
	level += strings.Repeat(" ", max(0, 5-len(level)))
	when := r.Time.Format(h.style.layout)
	if h.style.colour {
		when = "\x1b[2m" + when + "\x1b[0m"
		switch {
		case r.Level >= slog.LevelError:
			level = "\x1b[31m" + level + "\x1b[0m"
		case r.Level >= slog.LevelWarn:
			level = "\x1b[33m" + level + "\x1b[0m"
		}
	}
	return when + level + " "
}

// sentence is a message with its attributes. A member's name replaces the pair of its id and name, and the reason comes
// last.
func sentence(msg string, attrs []slog.Attr) string {
	var about []string
	reason := ""
	name := memberName(attrs)
	for _, a := range attrs {
		value := shown(a.Value)
		switch {
		case value == "":
		case a.Key == "reason" || a.Key == "err":
			reason += ": " + value
		case name != "" && a.Key == "name":
		case name != "" && isID(a):
			about = append(about, name)
		default:
			about = append(about, a.Key+" "+value)
		}
	}
	if len(about) > 0 {
		msg += " (" + strings.Join(about, ", ") + ")"
	}
	return clean(msg + reason)
}

func isID(a slog.Attr) bool { return a.Key == "id" || a.Key == "peer" }

// memberName is the name of the member that a record is about, if the record has both its id and its name.
func memberName(attrs []slog.Attr) (name string) {
	id := false
	for _, a := range attrs {
		id = id || isID(a)
		if a.Key == "name" {
			name = shown(a.Value)
		}
	}
	if !id {
		return ""
	}
	return name
}

// meet remembers the name of a member that a record mentions.
func (o *output) meet(attrs []slog.Attr) {
	name := memberName(attrs)
	for _, a := range attrs {
		if name != "" && isID(a) {
			o.names[shown(a.Value)] = name
			o.apart = nil
		}
	}
}

// memberID is the id of a member, which is its public key.
var memberID = regexp.MustCompile(`12D3KooW[1-9A-HJ-NP-Za-km-z]{44}`)

// named replaces members' ids by their names, or by the short ids that `dtpnode members` shows.
func (o *output) named(text string) string {
	return memberID.ReplaceAllStringFunc(text, func(id string) string {
		if o.apart == nil {
			o.apart = api.ToldApart(o.names)
		}
		if name := o.apart[id]; name != "" {
			return clean(name)
		}
		const same, length = len("12D3KooW"), 6
		return id[same : same+length]
	})
}

// shown formats a value for people.
func shown(v slog.Value) string {
	switch v = v.Resolve(); v.Kind() {
	case slog.KindDuration:
		return v.Duration().Round(time.Millisecond).String()
	case slog.KindTime:
		return v.Time().Format("2006-01-02 15:04:05")
	}
	text := fmt.Sprint(v.Any())
	// a list
	if inner, ok := strings.CutPrefix(text, "["); ok && v.Kind() == slog.KindAny && strings.HasSuffix(inner, "]") {
		text = strings.TrimSuffix(inner, "]")
	}
	return text
}

// clean removes characters that are not printable, since other hosts and ROOT may send them: control characters, and
// those that change the direction of text.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || unicode.IsPrint(r):
			return r
		case unicode.Is(unicode.Zs, r):
			return ' '
		}
		return -1
	}, strings.TrimRight(s, "\n"))
}
