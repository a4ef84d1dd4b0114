package main

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/dtpnode/dtpnode/node/api"
)

// TestNothingControlsTheTerminal prints what members, jobs and owners of datasets may have named as they like: each
// text that can come from elsewhere would clear the screen, turn text round, and make up a line.
func TestNothingControlsTheTerminal(t *testing.T) {
	const hostile = "evil\x1b[2J\u202e\a\r\x9b3m\nFAKE"
	// What is told in several lines, each where it belongs.
	texts := []string{"Error", "Hint", "Stack", "Tail", "Stdout", "Msg", "Warnings"}
	var set func(v reflect.Value, name string)
	set = func(v reflect.Value, name string) {
		switch v.Kind() {
		case reflect.String:
			text := hostile
			if slices.Contains(texts, name) {
				text = strings.ReplaceAll(text, "\nFAKE", "")
			}
			v.SetString(text)
		case reflect.Struct:
			if v.Type() == reflect.TypeFor[time.Time]() {
				return
			}
			for i := range v.NumField() {
				if v.Type().Field(i).IsExported() {
					set(v.Field(i), v.Type().Field(i).Name)
				}
			}
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 2, 2))
			for i := range v.Len() {
				set(v.Index(i), name)
			}
		case reflect.Map:
			if v.Type().Key().Kind() != reflect.String {
				return
			}
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			set(key, name)
			set(value, name)
			v.Set(reflect.MakeMap(v.Type()))
			v.SetMapIndex(key, value)
		case reflect.Pointer:
			v.Set(reflect.New(v.Type().Elem()))
			set(v.Elem(), name)
		case reflect.Int, reflect.Int32, reflect.Int64:
			v.SetInt(3)
		case reflect.Float64:
			v.SetFloat(3)
		case reflect.Bool:
			v.SetBool(true)
		}
	}
	job := filled[api.JobStatus](set)
	open := job
	open.Private = ""
	done := open
	done.State = api.Partial
	now := time.Now()
	for what, show := range map[string]func(w io.Writer){
		"datasets":        func(w io.Writer) { head(w, []api.Dataset{filled[api.Dataset](set)}) },
		"dataset show":    func(w io.Writer) { showDataset(w, filled[api.Dataset](set)) },
		"dataset verify":  func(w io.Writer) { showVerified(w, filled[api.DatasetCheck](set)) },
		"job":             func(w io.Writer) { printJob(w, open) },
		"job that ended":  func(w io.Writer) { printJob(w, done) },
		"job of another":  func(w io.Writer) { printJob(w, job) },
		"jobs":            func(w io.Writer) { printJobs(w, []api.JobStatus{job, open, done}, now) },
		"clocks":          func(w io.Writer) { printClocks(w, []api.JobStatus{job, open, done}, now) },
		"members":         func(w io.Writer) { printMembers(w, []api.Member{filled[api.Member](set)}, now) },
		"notes":           func(w io.Writer) { printNotes(w, []api.Member{filled[api.Member](set)}) },
		"versions":        func(w io.Writer) { printVersions(w, []api.Member{filled[api.Member](set)}) },
		"node":            func(w io.Writer) { printNode(w, filled[api.NodeStatus](set)) },
		"check":           func(w io.Writer) { printCheck(w, filled[api.Check](set)) },
		"recovery":        func(w io.Writer) { showRecovery(w, filled[api.Recovery](set), now) },
		"revoked":         func(w io.Writer) { printRevoked(w, filled[api.Member](set), filled[api.Revoked](set)) },
		"stopped":         func(w io.Writer) { printStopped(w, filled[api.Revoked](set)) },
		"error":           func(w io.Writer) { report(w, false, errors.New(hostile), 1, "") },
		"error with hint": func(w io.Writer) { report(w, false, &api.Error{Message: "no", Hint: hostile}, 1, "") },
	} {
		var out bytes.Buffer
		show(&out)
		for line := range strings.Lines(out.String()) {
			line = strings.TrimSuffix(line, "\n")
			bad := strings.IndexFunc(line, func(r rune) bool { return r != '\t' && !unicode.IsPrint(r) })
			if bad >= 0 || !strings.HasPrefix(what, "error") && strings.HasPrefix(line, "FAKE") {
				t.Errorf("%s: %q", what, line)
			}
		}
	}
}

// filled is a value of a type in which set has filled all that can be.
func filled[T any](set func(v reflect.Value, name string)) T {
	var out T
	set(reflect.ValueOf(&out).Elem(), "")
	return out
}
