package serve

import (
	"encoding/json"
	"strings"
	"testing"
)

var visits = name{"parks", "web", "visits"}

const described = `{
  "kind": "table", "title": "游园记录", "sharing": "conditional",
  "columns": [
    {"name": "id", "class": "open"}, {"name": "park", "class": "open"}, {"name": "phone", "class": "personal"},
    {"name": "age", "class": "internal"}
  ],
  "sources": ["parks/gate/entries"],
  "table": {"database": "parks_web_db", "schema": "public", "name": "visits", "key": ["id"]},
  "grants": [
    {"tenant": "health", "columns": ["id", "park"]},
    {"tenant": "health", "app": "code", "columns": ["id", "park", "phone"], "masks": {"phone": "partial"},
     "purpose": "contact tracing", "rows": [{"column": "park", "is": "in", "values": ["north", "south"]}], "page": 5}
  ]
}`

func TestADocumentIsTaken(t *testing.T) {
	found, bad := parse([]byte(described), visits)
	if bad != nil {
		t.Fatal(bad)
	}
	if found.Grants[1].Rows[0].Values[1] != "south" || found.class("phone") != classPersonal {
		t.Errorf("%+v", found)
	}
}

func TestWhatIsWrongIsNamed(t *testing.T) {
	for _, item := range [][3]string{
		{`"kind": "table"`, `"kind": "view"`, "kind"},
		{`"kind": "table"`, `"kind": "table", "owner": "roads"`, "(document)"},
		{`"title": "游园记录"`, `"title": ""`, "title"},
		{`"title": "游园记录"`, `"title": "a\u0000b"`, "title"},
		{`"sharing": "conditional"`, `"sharing": "public"`, "sharing"},
		{`"sharing": "conditional"`, `"sharing": "none"`, "grants[0].tenant"},
		{`"class": "internal"`, `"class": "secret"`, "columns[3].class"},
		{`"name": "age"`, `"name": "id"`, "columns[3].name"},
		{`"name": "age"`, `"name": "` + strings.Repeat("a", 64) + `"`, "columns[3].name"},
		{`"parks/gate/entries"`, `"parks/gate"`, "sources[0]"},
		{`"parks/gate/entries"`, `"parks/web/visits"`, "sources[0]"},
		{`"key": ["id"]`, `"key": []`, "table.key"},
		{`"key": ["id"]`, `"key": ["name"]`, "table.key[0]"},
		{`"schema": "public"`, `"schema": ""`, "table.schema"},
		{`"tenant": "health", "columns"`, `"tenant": "*", "columns"`, "grants[0]"},
		{`"columns": ["id", "park"]}`, `"columns": ["id", "phone"]}`, "grants[0].purpose"},
		{`"columns": ["id", "park"]}`, `"columns": ["id", "name"]}`, "grants[0].columns[1]"},
		{`"columns": ["id", "park"]}`, `"columns": ["id", "id"]}`, "grants[0].columns[1]"},
		{`"purpose": "contact tracing"`, `"purpose": "  "`, "grants[1].purpose"},
		{`{"phone": "partial"}`, `{"phone": "none"}`, "grants[1].masks.phone"},
		{`{"phone": "partial"}`, `{"age": "partial"}`, "grants[1].masks"},
		{`{"phone": "partial"}`, `{"id": "hash"}`, "grants[1].masks.id"},
		{`"is": "in"`, `"is": "= 1 OR 1"`, "grants[1].rows[0].is"},
		{`"is": "in"`, `"is": "eq"`, "grants[1].rows[0].values"},
		{`"tenant": "health", "columns"`, `"tenant": "health", "app": "code", "columns"`, "grants[1]"},
		{`"page": 5`, `"page": 1001`, "grants[1].page"},
		{`"page": 5`, `"minute": 6001`, "grants[1].minute"},
	} {
		changed := strings.Replace(described, item[0], item[1], 1)
		if changed == described {
			t.Fatalf("%s is not in the document", item[0])
		}
		if _, bad := parse([]byte(changed), visits); bad == nil || bad.Field != item[2] || bad.Reason == "" {
			t.Errorf("%s: %v, and not of %s", item[1], bad, item[2])
		}
	}
	for _, text := range []string{"", "[]", described + "{}", described[:100]} {
		if _, bad := parse([]byte(text), visits); bad == nil || bad.Field != "(document)" && bad.Field != "kind" {
			t.Errorf("%.20s: %v", text, bad)
		}
	}
}

func TestGrantsOfAnAppGoBeforeThoseOfItsTenant(t *testing.T) {
	found, _ := parse([]byte(described), visits)
	for _, item := range []struct {
		tenant, app string
		columns     string
	}{
		{"health", "code", "id park phone"}, {"health", "other", "id park"}, {"roads", "code", ""}, {"parks", "web", ""},
	} {
		granted := found.granted(item.tenant, item.app)
		if columns := ""; granted != nil {
			if columns = strings.Join(granted.Columns, " "); columns != item.columns {
				t.Errorf("%s/%s: %s", item.tenant, item.app, columns)
			}
		} else if item.columns != "" {
			t.Errorf("%s/%s has nothing", item.tenant, item.app)
		}
	}
	// In whichever order they are.
	found.Grants[0], found.Grants[1] = found.Grants[1], found.Grants[0]
	if granted := found.granted("health", "code"); len(granted.Columns) != 3 {
		t.Errorf("%v", granted)
	}
	found.Sharing = shareAll
	if granted := found.granted("roads", "bus"); strings.Join(granted.Columns, " ") != "id park" {
		t.Errorf("what is shared with all has %v", granted)
	}
}

func TestOthersSeeNeitherPlaceNorGrants(t *testing.T) {
	found, _ := parse([]byte(described), visits)
	item := &stored{name: visits, version: 1, document: found}
	seen, _ := json.Marshal(shown(item, &account{Tenant: "roads", App: "bus"}))
	for _, word := range []string{"parks_web_db", "contact tracing", "grants", "granted", "entries"} {
		if strings.Contains(string(seen), word) {
			t.Errorf("%s is in %s", word, seen)
		}
	}
	seen, _ = json.Marshal(shown(item, &account{Tenant: "health", App: "code"}))
	if !strings.Contains(string(seen), `"granted":{"tenant":"health","app":"code"`) || strings.Contains(string(seen), "parks_web_db") {
		t.Errorf("a consumer sees %s", seen)
	}
	if seen, _ = json.Marshal(shown(item, &account{Tenant: "parks", App: "web"})); !strings.Contains(string(seen), "parks_web_db") {
		t.Errorf("its owner sees %s", seen)
	}
	if found.Table == nil || found.Grants == nil {
		t.Error("showing an asset has changed it")
	}
}

func TestAnAssetHasTheLatestResultOfEachRule(t *testing.T) {
	found := latest([]result{{Rule: "a", Passed: true}, {Rule: "b"}, {Rule: "a"}})
	if len(found) != 2 || !found[0].Passed || found[1].Rule != "b" {
		t.Errorf("%+v", found)
	}
	if none := latest(nil); none == nil || len(none) != 0 {
		t.Error("no results are no list")
	}
}
