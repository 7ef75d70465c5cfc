package main

import (
	"encoding/json"
	"net/http"
	"net/url"
)

// task is one that another app has addressed to this one: what is told of it, and no more of the instance.
type task struct {
	ID          string  `json:"id"`
	Name        string  `json:"name"`
	Description string  `json:"description,omitempty"`
	Created     string  `json:"createTime"`
	From        string  `json:"from"`
	Form        []field `json:"formProperties,omitempty"`
}

type engineTask struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description"`
	Created     string `json:"createTime"`
	Assignee    string `json:"assignee"`
	Tenant      string `json:"tenantId"`
}

// seen is a task as who it is addressed to sees it; none if who has addressed it is locked.
func (d *door) seen(found engineTask) (task, bool) {
	from, ok := d.store.named(found.Tenant)
	if !ok || from.locked != 0 {
		return task{}, false
	}
	return task{ID: found.ID, Name: found.Name, Description: found.Description, Created: found.Created, From: from.app()}, true
}

// othersTasks are the tasks that other apps have addressed to this one, the oldest first.
func (d *door) othersTasks(a *asked) (reply, error) {
	query := url.Values{"candidateGroup": {a.account.app()}, "size": {"100"}, "sort": {"createTime"}, "order": {"asc"}}
	for name, values := range a.URL.Query() {
		if name != "start" && name != "size" || len(values) != 1 {
			return reply{}, refused(http.StatusBadRequest, "the query may not have %q", name)
		}
		if err := paged(name, values[0]); err != nil {
			return reply{}, err
		}
		query.Set(name, values[0])
	}
	got, err := d.ask(a, http.MethodGet, "runtime/tasks", query, nil)
	if err != nil || got.status != http.StatusOK {
		return got, err
	}
	var page struct {
		Data  []engineTask `json:"data"`
		Total int          `json:"total"`
	}
	if err := json.Unmarshal(got.body, &page); err != nil {
		return reply{}, err
	}
	found := []task{}
	for _, item := range page.Data {
		if item, ok := d.seen(item); ok {
			found = append(found, item)
		}
	}
	return answer(map[string]any{"data": found, "total": page.Total})
}

// addressed returns a task if it is addressed to the account's app, and nobody has it.
func (d *door) addressed(a *asked, id string) (task, error) {
	if !ids.MatchString(id) {
		return task{}, errGone
	}
	var found engineTask
	var links []struct{ Group, Type string }
	for path, into := range map[string]any{"runtime/tasks/" + id: &found, "runtime/tasks/" + id + "/identitylinks": &links} {
		got, err := d.ask(a, http.MethodGet, path, nil, nil)
		if err != nil {
			return task{}, err
		}
		if got.status != http.StatusOK || json.Unmarshal(got.body, into) != nil {
			return task{}, errGone
		}
	}
	for _, link := range links {
		if link.Type == "candidate" && link.Group == a.account.app() && found.Assignee == "" {
			if made, ok := d.seen(found); ok {
				return made, nil
			}
		}
	}
	return task{}, errGone
}

func (d *door) othersTask(a *asked) (reply, error) {
	found, err := d.addressed(a, a.PathValue("id"))
	if err != nil {
		return reply{}, err
	}
	if found.Form, err = d.fields(a, found.ID); err != nil {
		return reply{}, err
	}
	return answer(found)
}

// fillOthers completes a task of another app by its form alone. Who has done it is noted as TENANT/APP/NAME, which no app
// can give for itself.
func (d *door) fillOthers(a *asked) (reply, error) {
	var wanted struct {
		By         string   `json:"by"`
		Properties []filled `json:"properties"`
	}
	if err := a.read(&wanted); err != nil {
		return reply{}, err
	}
	if !people.MatchString(wanted.By) {
		return reply{}, refused(http.StatusBadRequest, "%q is no name of who completes the task", wanted.By)
	}
	found, err := d.addressed(a, a.PathValue("id"))
	if err != nil {
		return reply{}, err
	}
	form, err := d.fields(a, found.ID)
	if err != nil {
		return reply{}, err
	}
	if _, err := fits(form, wanted.Properties); err != nil {
		return reply{}, err
	}
	assign := func(who any) (reply, error) {
		return d.ask(a, http.MethodPut, "runtime/tasks/"+found.ID, nil, map[string]any{"assignee": who})
	}
	if got, err := assign(a.account.app() + "/" + wanted.By); err != nil || got.status >= 300 {
		return got, err
	}
	got, err := d.submit(a, found.ID, wanted.Properties)
	if err == nil && got.status < 300 {
		return got, nil
	}
	_, _ = assign(nil)
	if got.status == http.StatusNotFound {
		return reply{}, errGone
	}
	// Why is told to nobody but who has asked: the reason may name conditions and variables of the process.
	return reply{}, refused(http.StatusUnprocessableEntity, "the process of %s does not take the answer", found.From)
}
