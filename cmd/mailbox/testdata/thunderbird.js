// What TestThunderbird asks of Thunderbird's main window, one function at a
// time. It acts through what the window's own menus call, and returns what the
// window shows.

const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const pane = document.getElementById("tabmail").currentAbout3Pane;

// addAccount is the last step of the dialogue about a new account. Before it,
// the server's authority is trusted; after it, CONDSTORE is switched on, which
// has no switch in the window.
async function addAccount({ host, imaps, submissions, ca, address, password }) {
  const { AccountConfig } = ChromeUtils.importESModule("resource:///modules/accountcreation/AccountConfig.sys.mjs");
  const { CreateInBackend } = ChromeUtils.importESModule("resource:///modules/accountcreation/CreateInBackend.sys.mjs");
  Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB).addCertFromBase64(ca, "C,,");
  const config = new AccountConfig();
  const common = {
    hostname: host,
    username: address,
    password,
    socketType: Ci.nsMsgSocketType.SSL,
    auth: Ci.nsMsgAuthMethod.passwordCleartext,
  };
  Object.assign(config.incoming, common, { type: "imap", port: imaps });
  Object.assign(config.outgoing, common, { type: "smtp", port: submissions });
  config.identity = { realname: "Alice", emailAddress: address };
  config.rememberPassword = true;
  const account = await CreateInBackend.createAccountInBackend(config);
  account.incomingServer.setBoolValue("use_condstore", true);
}

function rootFolder() {
  return MailServices.accounts.defaultAccount.incomingServer.rootFolder;
}

function folder(name) {
  return rootFolder().descendants.find(f => f.name == name);
}

function message(subject) {
  return [...pane.gFolder.messages].find(m => m.mime2DecodedSubject == subject);
}

function folders() {
  return rootFolder().descendants.map(f => f.name).sort();
}

function createFolder(name) {
  rootFolder().createSubfolder(name, window.msgWindow);
}

function renameFolder(name, newName) {
  folder(name).rename(newName, window.msgWindow);
}

function compact(name) {
  folder(name).compact(null, window.msgWindow);
}

// open shows a folder, and tells whether it is shown.
function open(name) {
  pane.displayFolder(folder(name));
  return pane.gFolder == folder(name);
}

// listed is the folder that is open, how many messages it shows, and how many
// are unread.
function listed() {
  return [pane.gFolder.name, pane.gDBView.rowCount, pane.gFolder.getNumUnread(false)];
}

// downloaded tells whether all messages of the open folder are kept for use offline.
function downloaded() {
  return [...pane.gFolder.messages].every(m => m.flags & Ci.nsMsgMessageFlags.Offline);
}

function select(subjects) {
  pane.threadTree.selectedIndices = subjects.map(s => pane.gDBView.findIndexOfMsgHdr(message(s), true));
  return pane.gDBView.getSelectedMsgHdrs().length;
}

// command runs a command of the menus on what is selected; some take a folder.
function command(name, destination) {
  if (!pane.commandController.isCommandEnabled(name)) {
    throw new Error(`${name} is disabled`);
  }
  pane.commandController.doCommand(name, destination && folder(destination));
}

// shown is the subject and the text in the message pane.
function shown() {
  const about = pane.messageBrowser.contentWindow;
  return [
    about.document.getElementById("expandedsubjectBox").value?.textContent,
    about.getMessagePaneBrowser().contentDocument.querySelector("pre")?.textContent,
  ];
}

// marks is how a message is marked, or null where it is not listed.
function marks(subject) {
  const m = message(subject);
  return m ? [m.isRead && "read", m.isFlagged && "starred", m.getStringProperty("keywords")].filter(Boolean).join(" ") : null;
}

// search has the server look for words in the bodies of a folder.
function search(name, words) {
  const session = Cc["@mozilla.org/messenger/searchSession;1"].createInstance(Ci.nsIMsgSearchSession);
  session.addScopeTerm(Ci.nsMsgSearchScope.onlineMail, folder(name));
  const term = session.createTerm();
  const value = term.value;
  term.attrib = value.attrib = Ci.nsMsgSearchAttrib.Body;
  term.op = Ci.nsMsgSearchOp.Contains;
  value.str = words;
  term.value = value;
  session.appendTerm(term);
  return new Promise(resolve => {
    const found = [];
    session.registerListener({
      onNewSearch() {},
      onSearchHit: m => found.push(m.mime2DecodedSubject),
      onSearchDone: () => resolve(found.sort()),
    });
    session.search(window.msgWindow);
  });
}

// write opens a window with a new message.
function write(to, subject, text) {
  const fields = Cc["@mozilla.org/messengercompose/composefields;1"].createInstance(Ci.nsIMsgCompFields);
  Object.assign(fields, { to, subject, body: text });
  const params = Cc["@mozilla.org/messengercompose/composeparams;1"].createInstance(Ci.nsIMsgComposeParams);
  params.type = Ci.nsIMsgCompType.New;
  params.format = Ci.nsIMsgCompFormat.PlainText;
  params.composeFields = fields;
  params.identity = MailServices.accounts.defaultAccount.defaultIdentity;
  MailServices.compose.OpenComposeWindowWithParams(null, params);
}

// writing tells whether such a window is open.
function writing() {
  return Boolean(Services.wm.getMostRecentWindow("msgcompose"));
}

// send sends what is written, and tells whether its window was ready for that.
function send(text) {
  const w = Services.wm.getMostRecentWindow("msgcompose");
  const written = w?.document.getElementById("messageEditor")?.contentDocument?.body?.textContent;
  if (!written?.includes(text) || !w.defaultController.isCommandEnabled("cmd_sendNow")) {
    return false;
  }
  w.goDoCommand("cmd_sendNow");
  return true;
}
