// Takes the secret out of the fragment of a portal link, and signs in with it. It leaves the address first, so that
// it is not in the history.
const secret = location.hash.slice(1);
if (secret) {
  history.replaceState(null, "", location.pathname);
  const form = document.getElementById("link");
  form.elements.secret.value = secret;
  form.requestSubmit();
}
