package serve

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"
)

func asking(t *testing.T, parameters string) (*question, error) {
	t.Helper()
	found, bad := parse([]byte(described), visits)
	if bad != nil {
		t.Fatal(bad)
	}
	values, err := url.ParseQuery(parameters)
	if err != nil {
		t.Fatal(err)
	}
	return ask(found, found.granted("health", "code"), values)
}

func TestWhatIsNotGrantedIsRefused(t *testing.T) {
	for parameters, why := range map[string]string{
		"columns=age":               `column "age" is not granted`,
		"columns=id,nothing":        `column "nothing" is not granted`,
		`columns=id",(SELECT 1)--`:  "is not granted",
		"columns=id&where=age.gt.3": `column "age" is not granted`,
		"columns=id&order=age":      `column "age" is not granted`,
		"columns=id&order=-age":     `column "age" is not granted`,
		// What is masked is not to be guessed by what comes.
		"columns=id&where=phone.eq.1&purpose=contact+tracing": "is masked",
		"columns=id&order=phone&purpose=contact+tracing":      "is masked",
		"columns=phone":                  "state the purpose",
		"columns=phone&purpose=research": "state the purpose",
		"":                               "state the purpose",
	} {
		_, err := asking(t, parameters)
		var found *refusal
		if !errors.As(err, &found) || !strings.Contains(found.Reason, why) {
			t.Errorf("%s: %v", parameters, err)
		}
	}
	for parameters, field := range map[string]string{
		"columns=id,id": "columns", "columns=id&limit=6": "limit", "columns=id&limit=0": "limit", "columns=id&limit=x": "limit",
		"columns=id&where=park": "where", "columns=id&where=park.like.x": "where.is", "columns=id&filter=1": "filter",
		"columns=id&columns=park": "columns", "columns=id&where=park.eq.%00": "where.values[0]",
		"columns=id&where=park.eq." + strings.Repeat("a", 1001): "where.values[0]",
	} {
		_, err := asking(t, parameters)
		var found *fault
		if !errors.As(err, &found) || found.Field != field {
			t.Errorf("%s: %v, not in %s", parameters, err, field)
		}
	}
}

func TestValuesAreParametersAlone(t *testing.T) {
	found, err := asking(t, "columns=id,park&order=-park&limit=2&where=park.ne."+url.QueryEscape("' OR 1=1; --"))
	if err != nil {
		t.Fatal(err)
	}
	d, _ := parse([]byte(described), visits)
	d.Table.Name = `vis"its`
	order := "north"
	found.after = &position{Order: &order, Key: []string{"7"}}
	text, values := found.sql(d.Table, d.granted("health", "code").Rows)
	wanted := `SELECT "id", "park", "park", "id" FROM "public"."vis""its" WHERE ` +
		`("park" OPERATOR(pg_catalog.=) $1 OR "park" OPERATOR(pg_catalog.=) $2) AND ("park" OPERATOR(pg_catalog.<>) $3) AND ` +
		`("park" OPERATOR(pg_catalog.<) $5 OR "park" OPERATOR(pg_catalog.=) $5 AND (("id" OPERATOR(pg_catalog.>) $4))` +
		` OR "park" IS NULL) ORDER BY "park" DESC NULLS LAST, "id" LIMIT 3`
	if text != wanted {
		t.Errorf("%s\nis not\n%s", text, wanted)
	}
	var sent []string
	for _, item := range values {
		sent = append(sent, string(item))
	}
	if strings.Join(sent, "|") != "north|south|' OR 1=1; --|7|north" {
		t.Errorf("%q", sent)
	}
}

func TestEachParameterHasAPlace(t *testing.T) {
	order := "3"
	for _, last := range []*position{{Key: []string{"1", "2"}}, {Order: &order, Key: []string{"1", "2"}}} {
		for _, column := range []string{"", "age"} {
			asked := &question{columns: []string{"id"}, order: column, page: 1, after: last}
			text, values := asked.sql(&table{Schema: "s", Name: "t", Key: []string{"id", "park"}}, nil)
			for index := range values {
				if !strings.Contains(text, "$"+string(rune('1'+index))) {
					t.Errorf("$%d is not in %s", index+1, text)
				}
			}
			if strings.Contains(text, "$"+string(rune('1'+len(values)))) {
				t.Errorf("%s has more than %d", text, len(values))
			}
		}
	}
}

func TestACursorIsOfOneQuestionAndOneAccount(t *testing.T) {
	sealed, err := newCursors("secret")
	if err != nil {
		t.Fatal(err)
	}
	asked, _ := asking(t, "columns=id,park")
	use := asked.use("health.code.data", visits, 1)
	cursor, err := sealed.seal(position{Key: []string{"13800138000"}}, use)
	if err != nil || strings.Contains(cursor, "13800138000") {
		t.Fatal(cursor, err)
	}
	if found, err := sealed.open(cursor, use, 1); err != nil || found.Key[0] != "13800138000" || found.Order != nil {
		t.Errorf("%v %v", found, err)
	}
	other, _ := newCursors("another secret")
	first := "A"
	if cursor[:1] == first {
		first = "B"
	}
	narrow, _ := asking(t, "columns=id")
	for what, open := range map[string]func() (*position, error){
		"another account": func() (*position, error) { return sealed.open(cursor, asked.use("roads.bus.data", visits, 1), 1) },
		"another asset": func() (*position, error) {
			return sealed.open(cursor, asked.use("health.code.data", name{"a", "b", "c"}, 1), 1)
		},
		"another version":  func() (*position, error) { return sealed.open(cursor, asked.use("health.code.data", visits, 2), 1) },
		"another question": func() (*position, error) { return sealed.open(cursor, narrow.use("health.code.data", visits, 1), 1) },
		"another server":   func() (*position, error) { return other.open(cursor, use, 1) },
		"another key":      func() (*position, error) { return sealed.open(cursor, use, 2) },
		"a changed one":    func() (*position, error) { return sealed.open(first+cursor[1:], use, 1) },
		"a short one":      func() (*position, error) { return sealed.open("AAAA", use, 1) },
		"none":             func() (*position, error) { return sealed.open("!", use, 1) },
	} {
		var found *fault
		if _, err := open(); !errors.As(err, &found) || found.Field != "cursor" {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestMasks(t *testing.T) {
	for value, wanted := range map[string]string{
		"13800138000": "138******00", "张三": "张*", "张": "*", "": "*", "440301199001011234": "440*************34",
		"0123456789": "0*********",
	} {
		if found := masked(maskPartial, value, nil); found != wanted {
			t.Errorf("%s is shown as %s", value, found)
		}
	}
	if masked(maskHash, nil, nil) != nil {
		t.Error("what is not there has a hash")
	}
	one, same, other := masked(maskHash, "张三", []byte("a")), masked(maskHash, "张三", []byte("a")), masked(maskHash, "张三", []byte("b"))
	if one != same || one == other || len(one.(string)) != 32 {
		t.Errorf("%v %v %v", one, same, other)
	}
}

func TestCallsAreBounded(t *testing.T) {
	found, now := newLimits(3), time.Unix(1_000_000, 0)
	found.now = func() time.Time { return now }
	who := &account{Name: "health.code.data", Tenant: "health", AtOnce: 2}
	first, _ := found.begin(who, visits, 3)
	second, _ := found.begin(who, visits, 3)
	if _, reason := found.begin(who, visits, 3); !strings.HasPrefix(reason, "2 calls of the account") {
		t.Errorf("a third at a time: %q", reason)
	}
	// Another app's of the same tenant, and of another one.
	neighbour := &account{Name: "health.lab.data", Tenant: "health", AtOnce: 2}
	last, _ := found.begin(neighbour, visits, 3)
	if _, reason := found.begin(neighbour, visits, 3); !strings.HasPrefix(reason, "3 calls of a tenant") {
		t.Errorf("a fourth of the tenant: %q", reason)
	}
	other, reason := found.begin(&account{Name: "roads.bus.data", Tenant: "roads", AtOnce: 2}, visits, 3)
	if reason != "" {
		t.Errorf("one of another tenant: %q", reason)
	}
	last()
	other()
	first()
	second()
	third, reason := found.begin(who, visits, 3)
	if reason != "" {
		t.Fatal(reason)
	}
	third()
	if _, reason := found.begin(who, visits, 3); !strings.HasPrefix(reason, "3 calls are granted") {
		t.Errorf("a fourth in the minute: %q", reason)
	}
	// Of another asset, and in another minute.
	for _, asset := range []name{{"parks", "web", "trees"}, visits} {
		end, reason := found.begin(who, asset, 3)
		if reason != "" {
			t.Fatal(reason)
		}
		end()
		now = now.Add(time.Minute)
	}
	if len(found.open) != 0 || len(found.tenants) != 0 || len(found.minutes) != 1 {
		t.Errorf("%d open, %d tenants, %d minutes", len(found.open), len(found.tenants), len(found.minutes))
	}
}
