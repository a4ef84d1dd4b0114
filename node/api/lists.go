package api

import (
	"reflect"
	"strings"
)

// Listed is a copy of v in which lists that are nil are empty: JSON would have null for them, which scripts that walk a
// list stumble on. It reaches into structs, lists and pointers; v's own lists are shared with the copy. Lists that are
// left out when they are empty stay nil.
func Listed(v any) any {
	if v == nil {
		return nil
	}
	out := reflect.New(reflect.TypeOf(v)).Elem()
	out.Set(reflect.ValueOf(v))
	list(out)
	return out.Interface()
}

func list(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			list(v.Elem())
		}
	case reflect.Slice:
		if v.IsNil() {
			v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		}
		if kind := v.Type().Elem().Kind(); kind == reflect.Struct || kind == reflect.Slice || kind == reflect.Pointer {
			for i := range v.Len() {
				list(v.Index(i))
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			leftOut := strings.Contains(f.Tag.Get("json"), ",omit") && v.Field(i).IsZero()
			if f.IsExported() && !leftOut {
				list(v.Field(i))
			}
		}
	}
}
