package main

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

var files = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,100}$`)

// routes are what of the engine's interface accounts reach. The names are the engine's.
func (d *door) routes() map[string]handler {
	const base = "/" + api
	list := func(path string, known ...string) handler {
		return func(a *asked) (reply, error) {
			query, err := a.selected(known...)
			if err != nil {
				return reply{}, err
			}
			return d.ask(a, http.MethodGet, path, query, nil)
		}
	}
	one := func(path string) handler {
		return func(a *asked) (reply, error) {
			found, err := d.own(a, path, a.PathValue("id"))
			if err != nil {
				return reply{}, err
			}
			return answer(found)
		}
	}
	remove := func(path string) handler {
		return func(a *asked) (reply, error) {
			if _, err := d.own(a, path, a.PathValue("id")); err != nil {
				return reply{}, err
			}
			return d.ask(a, http.MethodDelete, path+"/"+a.PathValue("id"), nil, nil)
		}
	}
	under := func(path, part string) handler {
		return func(a *asked) (reply, error) {
			if _, err := d.own(a, path, a.PathValue("id")); err != nil {
				return reply{}, err
			}
			return d.ask(a, http.MethodGet, path+"/"+a.PathValue("id")+"/"+part, nil, nil)
		}
	}
	const (
		deployments, definitions = "repository/deployments", "repository/process-definitions"
		instances, tasks         = "runtime/process-instances", "runtime/tasks"
		pastInstances, pastTasks = "history/historic-process-instances", "history/historic-task-instances"
		pastVariables, shared    = "history/historic-variable-instances", "/shared/tasks"
	)
	return map[string]handler{
		"POST " + base + "/" + deployments:                  d.deploy,
		"GET " + base + "/" + deployments:                   list(deployments, "name"),
		"GET " + base + "/" + deployments + "/{id}":         one(deployments),
		"DELETE " + base + "/" + deployments + "/{id}":      d.undeploy,
		"GET " + base + "/" + definitions:                   list(definitions, "key", "latest", "version", "deploymentId"),
		"GET " + base + "/" + definitions + "/{id}":         one(definitions),
		"POST " + base + "/" + instances:                    d.start,
		"GET " + base + "/" + instances:                     list(instances, "id", "processDefinitionKey", "processDefinitionId", "businessKey"),
		"GET " + base + "/" + instances + "/{id}":           one(instances),
		"GET " + base + "/" + instances + "/{id}/variables": under(instances, "variables"),
		"DELETE " + base + "/" + instances + "/{id}":        remove(instances),
		"GET " + base + "/" + tasks: list(tasks, "processInstanceId", "processInstanceBusinessKey", "taskDefinitionKey",
			"assignee", "unassigned", "candidateUser", "candidateGroup", "processDefinitionKey"),
		"GET " + base + "/" + tasks + "/{id}":           one(tasks),
		"GET " + base + "/" + tasks + "/{id}/variables": under(tasks, "variables"),
		"POST " + base + "/" + tasks + "/{id}":          d.act,
		"GET " + base + "/form/form-data":               d.form,
		"POST " + base + "/form/form-data":              d.fill,
		"GET " + base + "/" + pastInstances: list(pastInstances, "processInstanceId", "processDefinitionKey", "businessKey",
			"finished", "finishedAfter", "finishedBefore"),
		"GET " + base + "/" + pastInstances + "/{id}":    one(pastInstances),
		"DELETE " + base + "/" + pastInstances + "/{id}": remove(pastInstances),
		"GET " + base + "/" + pastTasks:                  list(pastTasks, "processInstanceId", "taskDefinitionKey", "taskAssignee", "finished"),
		"GET " + base + "/" + pastVariables:              d.pastVariables,
		"GET " + shared:                                  d.othersTasks,
		"GET " + shared + "/{id}":                        d.othersTask,
		"POST " + shared + "/{id}":                       d.fillOthers,
	}
}

func answer(value any) (reply, error) {
	text, err := json.Marshal(value)
	return reply{http.StatusOK, text}, err
}

// deploy reads a definition, and deploys what is allowed of it.
func (d *door) deploy(a *asked) (reply, error) {
	if len(a.URL.RawQuery) > 0 {
		return reply{}, refused(http.StatusBadRequest, "the query may not have anything")
	}
	if err := d.room(a); err != nil {
		return reply{}, err
	}
	parts, err := a.MultipartReader()
	if err != nil {
		return reply{}, refused(http.StatusBadRequest, "the body has to be multipart/form-data with one file")
	}
	var file *upload
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return reply{}, refused(http.StatusBadRequest, "the body: %v", err)
		}
		text, err := io.ReadAll(part)
		if err != nil {
			return reply{}, refused(http.StatusRequestEntityTooLarge, "the body: %v", err)
		}
		name := part.FileName()
		if name == "" {
			continue
		}
		if file != nil || !files.MatchString(name) || !(strings.HasSuffix(name, ".bpmn20.xml") || strings.HasSuffix(name, ".bpmn")) {
			return reply{}, refused(http.StatusBadRequest, "%q: a deployment is one file that ends in .bpmn or .bpmn20.xml", name)
		}
		file = &upload{name, text}
	}
	if file == nil {
		return reply{}, refused(http.StatusBadRequest, "the body has no file")
	}
	found, err := parse(file.text)
	if err != nil {
		return reply{}, refused(http.StatusBadRequest, "%s:%v", file.name, err)
	}
	count, _, err := d.store.open(a.Context(), a.account.name)
	if err != nil {
		return reply{}, err
	}
	if count >= mostDefinitions {
		return reply{}, refused(http.StatusInsufficientStorage, "the account has %d definitions of %d: delete deployments", count, mostDefinitions)
	}
	query := url.Values{"tenantId": {a.account.name}, "deploymentName": {file.name}}
	return d.ask(a, http.MethodPost, "repository/deployments", query, &upload{file.name, found.write()})
}

// undeploy deletes a deployment with its instances. The engine reads these into memory, so there may not be many.
func (d *door) undeploy(a *asked) (reply, error) {
	const path = "repository/deployments"
	id := a.PathValue("id")
	if _, err := d.own(a, path, id); err != nil {
		return reply{}, err
	}
	count, steps, err := d.store.deployed(a.Context(), id)
	if err != nil {
		return reply{}, err
	}
	if count > mostDeleted || steps > 4*mostSteps {
		return reply{}, refused(http.StatusConflict, "the deployment has %d instances with %d steps, and at most %d with %d are deleted with one: delete instances first", count, steps, mostDeleted, 4*mostSteps)
	}
	return d.ask(a, http.MethodDelete, path+"/"+id, url.Values{"cascade": {"true"}}, nil)
}

// start begins an instance of a definition of the account's own.
func (d *door) start(a *asked) (reply, error) {
	var wanted struct {
		Key         string     `json:"processDefinitionKey"`
		Definition  string     `json:"processDefinitionId"`
		BusinessKey string     `json:"businessKey"`
		Name        string     `json:"name"`
		Return      bool       `json:"returnVariables"`
		Variables   []variable `json:"variables"`
		Tenant      string     `json:"tenantId"`
	}
	if err := errors.Join(a.read(&wanted), d.room(a)); err != nil {
		return reply{}, firstOf(err)
	}
	if wanted.Tenant != "" && wanted.Tenant != a.account.name {
		return reply{}, refused(http.StatusForbidden, "the tenant is %s", a.account.name)
	}
	given, err := clean(wanted.Variables)
	if err != nil {
		return reply{}, err
	}
	body := map[string]any{"variables": given, "returnVariables": wanted.Return}
	if len(wanted.BusinessKey) > 255 || len(wanted.Name) > 255 {
		return reply{}, refused(http.StatusBadRequest, "businessKey and name have at most 255 bytes")
	}
	if wanted.BusinessKey != "" {
		body["businessKey"] = wanted.BusinessKey
	}
	if wanted.Name != "" {
		body["name"] = wanted.Name
	}
	switch {
	case (wanted.Key == "") == (wanted.Definition == ""):
		return reply{}, refused(http.StatusBadRequest, "the body has processDefinitionKey or processDefinitionId")
	case wanted.Definition != "":
		if _, err := d.own(a, "repository/process-definitions", wanted.Definition); err != nil {
			return reply{}, err
		}
		body["processDefinitionId"] = wanted.Definition
	default:
		body["processDefinitionKey"], body["tenantId"] = wanted.Key, a.account.name
	}
	_, count, err := d.store.open(a.Context(), a.account.name)
	if err != nil {
		return reply{}, err
	}
	if count >= mostInstances {
		return reply{}, refused(http.StatusInsufficientStorage, "the account has %d instances of %d that have not ended", count, mostInstances)
	}
	got, err := d.ask(a, http.MethodPost, "runtime/process-instances", nil, body)
	if err == nil && got.status == http.StatusCreated {
		d.count("instances", a.account)
	}
	return got, err
}

// act completes or claims a task of the account's own.
func (d *door) act(a *asked) (reply, error) {
	var wanted struct {
		Action    string     `json:"action"`
		Assignee  string     `json:"assignee"`
		Variables []variable `json:"variables"`
	}
	if err := errors.Join(a.read(&wanted), d.room(a)); err != nil {
		return reply{}, firstOf(err)
	}
	id := a.PathValue("id")
	if _, err := d.own(a, "runtime/tasks", id); err != nil {
		return reply{}, err
	}
	body := map[string]any{"action": wanted.Action}
	switch wanted.Action {
	case "complete":
		given, err := clean(wanted.Variables)
		if err == nil {
			err = d.spare(a, id, len(given))
		}
		if err != nil {
			return reply{}, err
		}
		body["variables"] = given
	case "claim":
		if wanted.Assignee != "" && !people.MatchString(wanted.Assignee) {
			return reply{}, refused(http.StatusBadRequest, "%q is no name of somebody", wanted.Assignee)
		}
		// Nobody: the task is given back.
		body["assignee"] = nil
		if wanted.Assignee != "" {
			body["assignee"] = wanted.Assignee
		}
	default:
		return reply{}, refused(http.StatusBadRequest, "the action is complete or claim")
	}
	got, err := d.ask(a, http.MethodPost, "runtime/tasks/"+id, nil, body)
	if err == nil && got.status < 300 && wanted.Action == "complete" {
		d.count("completed", a.account)
	}
	return got, err
}

func (d *door) pastVariables(a *asked) (reply, error) {
	id := a.URL.Query().Get("processInstanceId")
	if _, err := a.selected("processInstanceId", "variableName"); err != nil {
		return reply{}, err
	}
	if _, err := d.own(a, "history/historic-process-instances", id); err != nil {
		return reply{}, err
	}
	query, _ := a.selected("processInstanceId", "variableName")
	query.Del("tenantId")
	return d.ask(a, http.MethodGet, "history/historic-variable-instances", query, nil)
}

// firstOf is the first of joined errors, with its status.
func firstOf(err error) error {
	var known refusal
	if errors.As(err, &known) {
		return known
	}
	return err
}
