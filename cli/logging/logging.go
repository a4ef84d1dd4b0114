// Package logging chooses the form of the daemon's log: words for people, key=value for grep, JSON for machines, or
// priorities for systemd's journal.
package logging

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/term"
)

// These are the formats of a log.
const (
	Auto     = "auto"    // depends on where the log goes: Journal, KeyValue in a file, else Text
	Text     = "text"    // time, level and words, with the names of members
	KeyValue = "logfmt"  // time=... level=... msg="..." and so on
	JSON     = "json"    // one object a line
	Journal  = "journal" // as Text, without the time, after the priority that sd-daemon(3) wants
)

// stream is the environment variable in which systemd identifies the journal.
const stream = "JOURNAL_STREAM"

// Formats returns all formats, as a user names them.
func Formats() []string { return []string{Auto, Text, KeyValue, JSON, Journal} }

// New returns a handler that writes the records of a level and above to a file.
func New(to *os.File, format string, level slog.Leveler) (slog.Handler, error) {
	if format == Auto {
		format = fitting(to)
	}
	switch format {
	case Text:
		s := style{layout: "2006-01-02 15:04:05 "}
		if term.IsTerminal(int(to.Fd())) {
			s = style{layout: "15:04:05 ", colour: os.Getenv("NO_COLOR") == ""}
		}
		return newWords(to, level, s), nil
	case Journal:
		return newWords(to, level, style{priority: true}), nil
	case KeyValue:
		return slog.NewTextHandler(to, &slog.HandlerOptions{Level: level}), nil
	case JSON:
		return slog.NewJSONHandler(to, &slog.HandlerOptions{Level: level}), nil
	}
	all := Formats()
	last := len(all) - 1
	return nil, fmt.Errorf("could not use the log format %q: want %s or %s", format, strings.Join(all[:last], ", "),
		all[last])
}

// fitting is the format for what a file leads to. systemd tells a service in $JOURNAL_STREAM which of its files is the
// journal; its children inherit the variable, and may write elsewhere.
func fitting(to *os.File) string {
	info, err := to.Stat()
	if err != nil {
		return Text
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && os.Getenv(stream) == fmt.Sprintf("%d:%d", st.Dev, st.Ino) {
		return Journal
	}
	if info.Mode().IsRegular() {
		return KeyValue
	}
	return Text
}

// priority is a level as syslog(3) and the journal number it.
func priority(l slog.Level) int {
	levels := []slog.Level{slog.LevelError, slog.LevelWarn, slog.LevelInfo}
	i := slices.IndexFunc(levels, func(least slog.Level) bool { return l >= least })
	if i < 0 {
		return 7
	}
	return []int{3, 4, 6}[i]
}
