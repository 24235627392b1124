// Server-sent events over fetch, which unlike EventSource can post and carry a token.

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function refusal(response) {
  let message = `the endpoint answered ${response.status}`;
  try {
    message = (await response.json()).error.message;
  } catch {
    // A proxy's answer has no such body; the status has to do.
  }
  return new Refused(response.status, message);
}

function headers(token) {
  return token ? { authorization: `Bearer ${token}` } : {};
}

export async function getJson(path, token) {
  const response = await fetch(path, { headers: headers(token) });
  if (!response.ok) throw await refusal(response);
  return response.json();
}

// Calls `onEvent(name, data)` for every event until the stream ends; aborting the signal ends it too.
export async function watch(path, body, token, signal, onEvent) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers(token) },
    body: JSON.stringify(body),
    signal,
  });
  if (!response.ok) throw await refusal(response);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  let breath = performance.now();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    // Chunks that wait already are read without a pause; keys and drawing need one.
    if (performance.now() - breath > 12) {
      await new Promise((resume) => { setTimeout(resume); });
      breath = performance.now();
    }
    signal.throwIfAborted();
    text += value;
    let end;
    while ((end = text.indexOf("\n\n")) >= 0) {
      const lines = text.slice(0, end).split("\n");
      text = text.slice(end + 2);
      const name = lines.find((line) => line.startsWith("event: "))?.slice(7);
      const data = lines.find((line) => line.startsWith("data: "))?.slice(6);
      if (name && data) onEvent(name, JSON.parse(data));
    }
  }
}
