
// Copies a command. Without this script a click on the command selects the whole of it.
const said = document.querySelector("[role=status]");
for (const button of document.querySelectorAll("article button")) {
  const code = button.previousElementSibling;
  button.hidden = false;
  button.addEventListener("click", async () => {
    let copied = true;
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch { // there is no clipboard without TLS, except on one's own machine
      getSelection().selectAllChildren(code);
      copied = document.execCommand("copy");
    }
    button.textContent = said.textContent = copied ? "Copied" : "Selected";
    setTimeout(() => { button.textContent = "Copy"; said.textContent = ""; }, 2000);
  });
}
