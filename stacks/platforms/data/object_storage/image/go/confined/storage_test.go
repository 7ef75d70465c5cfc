package confined

import (
	"context"
	"fmt"
	"reflect"
	"testing"

	"github.com/versity/versitygw/backend"
)

const climbing = "../../other.bucket/object"

// In the order in which methods take them.
var valid = []string{"own.bucket", "a/key", "null"}

// nothing has all methods, and panics in each.
type nothing struct{ backend.Backend }

// TestNothingClimbsThroughAnyMethod calls every method of the interface, whatever the module's version has, with one
// climbing text at a time. A request that is let through ends in a panic of the backend.
func TestNothingClimbsThroughAnyMethod(t *testing.T) {
	storage, err := New(nothing{})
	if err != nil {
		t.Fatal(err)
	}
	methods := reflect.TypeFor[backend.Backend]()
	let := 0
	for number := range methods.NumMethod() {
		method := methods.Method(number)
		switch method.Name {
		case "String", "Shutdown", "NormalizeObjectKey", "ListBuckets":
			continue
		}
		texts := 0
		for place := 0; place <= texts; place++ {
			// Place 0 is none: the request is valid.
			texts = 0
			arguments := []reflect.Value{}
			plain := 0
			for index := range method.Type.NumIn() {
				kind := method.Type.In(index)
				if kind == reflect.TypeFor[context.Context]() {
					arguments = append(arguments, reflect.ValueOf(context.Background()))
					continue
				}
				value := reflect.New(kind).Elem()
				if kind.Kind() == reflect.String && kind == reflect.TypeFor[string]() && plain < len(valid) {
					value.SetString(valid[plain])
					plain++
					if texts++; texts == place {
						value.SetString(climbing)
					}
				} else {
					fill(value, "", &texts, place)
				}
				arguments = append(arguments, value)
			}
			passed := called(reflect.ValueOf(storage).MethodByName(method.Name), arguments)
			if passed && place > 0 {
				t.Errorf("%s lets text %d through", method.Name, place)
			}
			if passed && place == 0 {
				let++
			}
		}
	}
	// The methods that are passed on at all, but for four above and DeleteObjects, which has a list.
	if let < 25 {
		t.Errorf("%d methods are passed on", let)
	}
}

// fill sets the texts that have a rule, through pointers and structures, to valid ones, and the one at `place`, counted
// by `texts`, to one that climbs.
func fill(value reflect.Value, name string, texts *int, place int) {
	switch value.Kind() {
	case reflect.Pointer:
		value.Set(reflect.New(value.Type().Elem()))
		fill(value.Elem(), name, texts, place)
	case reflect.Struct:
		for index := range value.NumField() {
			one := value.Type().Field(index)
			switch one.Name {
			case "Bucket", "Key", "UploadId", "VersionId", "CopySource", "Prefix":
				target := value.Field(index)
				if target.Kind() == reflect.Pointer {
					target.Set(reflect.New(target.Type().Elem()))
					target = target.Elem()
				}
				if target.Kind() != reflect.String {
					continue
				}
				target.SetString(map[string]string{
					"Bucket": valid[0], "Key": valid[1], "VersionId": valid[2], "Prefix": "a/",
					"UploadId": "00000000-0000-4000-8000-000000000000", "CopySource": "own.bucket/a/key",
				}[one.Name])
				if *texts++; *texts == place {
					target.SetString(climbing)
				}
			}
		}
	}
}

func called(method reflect.Value, arguments []reflect.Value) (passed bool) {
	defer func() { passed = recover() != nil }()
	method.Call(arguments)
	return false
}

func TestATextWithoutARuleIsAnError(t *testing.T) {
	type input struct {
		Bucket string
		Inner  *struct{ NewPath []string }
	}
	_, err := fields(reflect.TypeFor[input]())
	if want := "no rule says what these may be in confined.input: Inner.NewPath"; fmt.Sprint(err) != want {
		t.Errorf("%v", err)
	}
}

func TestNames(t *testing.T) {
	for name, rule := range map[string]rule{
		"a/b": isKey, "a/": isKey, ".a/..b/c.": isKey, "健康": isKey, "a/.": isPrefix, "": isPrefix,
		"own/a/b": isCopySource, "/own%2Fa%2Fb": isCopySource, "01ARZ3NDEKTSV4RRFFQ69G5FAV": isVersion,
	} {
		if rule(name) != nil {
			t.Errorf("%q is refused: %v", name, rule(name))
		}
	}
	for _, name := range []string{"", "/", "/a", "a//", "a//b", "./a", "a/.", "a/..", "..", "a/../b", ".sgwtmp", "a/.sgwtmp/b", "a\x00"} {
		if isKey(name) == nil {
			t.Errorf("%q is a key", name)
		}
	}
	for _, id := range []string{"../../../../../../../users", "..////////////////////////", "0", "../"} {
		if isVersion(id) == nil {
			t.Errorf("%q is a version", id)
		}
	}
}
