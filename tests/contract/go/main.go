// What a user of the generated Go client does: each call once, and every answer read by name.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"contract/hookd"
)

var (
	receiver = os.Getenv("RECEIVER")
	ctx      = context.WithValue(context.Background(), hookd.ContextAccessToken, os.Getenv("TOKEN"))
	client   = newClient()
)

func newClient() *hookd.APIClient {
	configuration := hookd.NewConfiguration()
	configuration.Servers = hookd.ServerConfigurations{{URL: os.Getenv("HOOKD")}}
	return hookd.NewAPIClient(configuration)
}

func check(good bool, what string, found ...any) {
	if !good {
		panic(fmt.Sprintf("%s: %+v", what, found))
	}
}

// read returns what a call answered; any error, one of decoding too, ends the program.
func read[T any](answer T, response *http.Response, err error) T {
	if err != nil {
		var told *hookd.GenericOpenAPIError
		errors.As(err, &told)
		panic(fmt.Sprintf("%v: %s", err, told.Body()))
	}
	check(response.StatusCode < 300, response.Status)
	return answer
}

// refused returns the problem that a call must answer.
func refused(err error) hookd.ProblemDocument {
	var told *hookd.GenericOpenAPIError
	check(errors.As(err, &told), "no problem", err)
	problem, is := told.Model().(hookd.ProblemDocument)
	check(is, "no problem", told.Model(), err)
	return problem
}

func subscribe() string {
	api := client.SubscriptionsAPI
	types := read(api.ListEventTypes(ctx).Execute())
	check(strings.Contains(strings.Join(types.Events, " "), "match.proposed"), "event types", types)
	body := *hookd.NewRegistration(receiver, []string{"match.proposed"})
	made := read(api.RegisterWebhook(ctx).Registration(body).Execute())
	check(made.Secret != nil && made.IsActive && made.FailureCount == 0, "registered", made)
	check(time.Since(made.CreatedAt) < time.Hour, "created_at", made)
	page := read(api.ListWebhooks(ctx).Limit(20).Execute())
	check(len(page.Data) == 1 && page.Data[0].Id == made.Id && page.NextCursor.Get() == nil, "page", page)
	return made.Id
}

func change(subscription string) {
	api := client.SubscriptionsAPI
	_, response, err := api.GetWebhook(ctx, subscription).Execute()
	check(err == nil, "read", err)
	etag := response.Header.Get("ETag")
	body := hookd.Update{Events: []string{"match.*"}}
	body.SetDescription("changed")
	changed := read(api.UpdateWebhook(ctx, subscription).Update(body).IfMatch(etag).Execute())
	check(changed.GetDescription() == "changed" && changed.Events[0] == "match.*", "changed", changed)
	_, _, err = api.UpdateWebhook(ctx, subscription).Update(hookd.Update{}).IfMatch(etag).Execute()
	check(refused(err).Status == 412, "stale", err)
	registration := *hookd.NewRegistration(receiver, []string{"match.*"})
	filter := map[string]any{"score": map[string]any{"$gt": 0.5}}
	registration.SetFilter(hookd.RegistrationFilter{MapmapOfStringAny: &filter})
	other := read(api.RegisterWebhook(ctx).Registration(registration).Execute())
	check(other.Filter.MapmapOfStringAny != nil, "filter", other)
	deleted, err := api.DeleteWebhook(ctx, other.Id).Execute()
	check(err == nil && deleted.StatusCode == 204, "deleted", err)
	_, _, err = api.GetWebhook(ctx, other.Id).Execute()
	check(refused(err).Status == 404, "missing", err)
}

func publish() {
	api := client.EventsAPI
	one := *hookd.NewIncomingEvent("match.proposed", map[string]any{"candidate": 7})
	body := hookd.PublishEventsRequest{IncomingEvent: &one}
	first := read(api.PublishEvents(ctx).PublishEventsRequest(body).IdempotencyKey("only-once").Execute())
	again := read(api.PublishEvents(ctx).PublishEventsRequest(body).IdempotencyKey("only-once").Execute())
	check(first.Id != nil && *first.Id == again.GetId(), "published once", first, again)
	both := []hookd.IncomingEvent{one, *hookd.NewIncomingEvent("match.proposed", false)}
	many := read(api.PublishEvents(ctx).PublishEventsRequest(
		hookd.PublishEventsRequest{ArrayOfIncomingEvent: &both}).Execute())
	check(len(many.Ids) == 2, "published two", many)
}

func watch(subscription string) {
	api := client.DeliveriesAPI
	var attempts []hookd.DeliveryPageDataInner
	for end := time.Now().Add(30 * time.Second); len(attempts) < 3; time.Sleep(100 * time.Millisecond) {
		check(time.Now().Before(end), "attempts", attempts)
		attempts = read(api.ListDeliveries(ctx, subscription).Execute()).Data
	}
	last := attempts[0].Attempt
	check(last != nil && last.Status == "succeeded" && *last.ResponseStatus.Get() == 204, "an attempt", last)
	pending := read(api.ListDeliveries(ctx, subscription).Status("pending").Execute())
	check(len(pending.Data) == 0, "pending", pending)
	delivery := read(api.GetDelivery(ctx, subscription, last.DeliveryId).Execute())
	check(delivery.Status == "succeeded" && delivery.Waiting.Get() == nil, "delivery", delivery)
	check(delivery.Attempts[0].Phases.FirstByteMs.Get() != nil, "phases", delivery)
	again := read(api.Redeliver(ctx, subscription, last.DeliveryId).Execute())
	check(again.DeliveryId != last.DeliveryId, "redelivered", again)
}

func try(subscription string) {
	api := client.SubscriptionsAPI
	plain := read(api.TestWebhook(ctx, subscription).Execute()) // the client writes null for its body
	check(plain.Delivered && *plain.ResponseStatus.Get() == 204, "test", plain)
	request := hookd.TestRequest{}
	request.SetConformance(true)
	whole := read(api.TestWebhook(ctx, subscription).TestRequest(request).Execute())
	check(len(whole.Conformance) == 4, "conformance", whole)
}

func rotate(subscription string) {
	api := client.SubscriptionsAPI
	made := read(api.RotateSecret(ctx, subscription).Execute())
	check(strings.HasPrefix(made.GetSecret(), "whsec_") && made.PreviousExpiresAt.After(time.Now()), "rotated", made)
	own := hookd.Rotation{}
	own.SetSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	brought := read(api.RotateSecret(ctx, subscription).Rotation(own).Execute())
	check(brought.GetSecret() == own.GetSecret(), "rotated", brought)
	ended, err := api.EndPreviousSecret(ctx, subscription).Execute()
	check(err == nil && ended.StatusCode == 204, "ended", err)
}

func replay(subscription string) {
	api := client.ReplaysAPI
	request := *hookd.NewReplayRequest(time.Now().Add(-time.Hour))
	request.SetDryRun(true)
	counted := read(api.ReplayEvents(ctx, subscription).ReplayRequest(request).Execute())
	check(counted.DryRun && counted.Count == 3, "dry run", counted)
	request.SetDryRun(false)
	var ids []string
	for len(ids) < 2 {
		started := read(api.ReplayEvents(ctx, subscription).ReplayRequest(request).Execute())
		check(!started.DryRun && started.GetTotal() == started.Count && started.Id != nil, "replay", started)
		ids = append(ids, *started.Id)
	}
	page := read(api.ListReplays(ctx, subscription).Execute())
	check(len(page.Data) == 2 && page.Data[0].Id == ids[1] && page.Data[1].Id == ids[0], "replays", page)
	found := read(api.GetReplay(ctx, subscription, ids[0]).Execute())
	check(found.Total == 3, "replay", found)
	ended := read(api.CancelReplay(ctx, subscription, ids[1]).Execute())
	check(ended.EndedAt.Get() != nil, "cancelled", ended)
}

func look() {
	api := client.ServiceAPI
	check(read(api.GetLiveness(ctx).Execute()).Status == "ok", "alive")
	check(len(read(api.GetReadiness(ctx).Execute()).Checks) > 0, "ready")
	check(strings.Contains(read(api.GetMetrics(ctx).Execute()), "hookd_attempts_total"), "metrics")
	check(strings.HasPrefix(read(api.GetOpenapi(ctx).Execute()).Openapi, "3.1"), "document")
	check(strings.Contains(read(api.GetDocs(ctx).Execute()), "<html"), "page")
}

func main() {
	subscription := subscribe()
	change(subscription)
	publish()
	watch(subscription)
	try(subscription)
	rotate(subscription)
	replay(subscription)
	look()
}
